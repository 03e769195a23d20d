"""Networks of well-known repositories for CIFAR: recovered from a bare state dict, with equal outputs."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torchvision import models
from torchvision.models.googlenet import BasicConv2d

from robaudit.errors import RobauditError
from robaudit.inputs import load_classifier
from robaudit.inputs.architectures import build_architecture
from robaudit.inputs.architectures.published import PUBLISHED
from robaudit.inputs.candidates import assemble
from robaudit.inputs.catalogue_index import indexed_names
from robaudit.inputs.layers import module_layers
from robaudit.inputs.members import member_options, read_members

State = dict[str, torch.Tensor]
SHAPE = (3, 32, 32)


def randomised(network: nn.Module) -> nn.Module:
    """In evaluation mode, with statistics and scales that an exchange of layers would show."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-0.1, 0.1)  # type: ignore[union-attr]
            module.running_var.uniform_(0.5, 1.5)  # type: ignore[union-attr]
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.1, 0.1)
    return network.eval()


def recovered(state: State, x: torch.Tensor, want: torch.Tensor, most: int = 12) -> str:
    """The first architecture among the likeliest whose outputs are `want`; empty where none is."""
    for option in member_options(read_members([state], Path("f")), None, SHAPE, Path("f"))[:most]:
        try:
            got = assemble(option)(x)
        except RobauditError:  # a guess that has no such layers
            continue
        if torch.allclose(got, want, atol=1e-4 * float(want.abs().max())):
            return option.spec
    return ""


def densenet(pool: bool) -> nn.Module:
    network = models.densenet121(num_classes=10)
    network.features.conv0 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
    if not pool:
        network.features.pool0 = nn.Identity()
    return network


def mobilenet(width: float) -> nn.Module:
    network = models.mobilenet_v2(num_classes=10, width_mult=width)
    network.features[0][0].stride = network.features[2].conv[1][0].stride = (1, 1)
    return network


def shufflenet(width: str) -> nn.Module:
    network = models.get_model(f"shufflenet_v2_{width}", weights=None, num_classes=10)
    network.conv1[0].stride, network.maxpool = (1, 1), nn.Identity()
    return network


def residual() -> nn.Module:
    network = models.resnet18(num_classes=10)
    network.conv1 = nn.Conv2d(3, 64, 3, 1, 1, bias=False)
    return network


class SmallGoogLeNet(nn.Module):
    """torchvision's inception cells behind one convolution, called one by one."""

    def __init__(self) -> None:
        super().__init__()
        whole = models.googlenet(num_classes=10, aux_logits=False, init_weights=False)
        self.conv1 = BasicConv2d(3, 192, kernel_size=3, padding=1)
        for name, module in whole.named_children():
            if name.startswith(("inception", "fc")):
                self.add_module(name, module)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv1(x)
        for name, module in self.named_children():
            if name in ("inception4a", "inception5a"):
                x = F.max_pool2d(x, 3, 2, 1)
            x = module(x) if name.startswith("inception") else x
        return self.fc(x.mean((2, 3)))


@pytest.mark.parametrize(
    ("network", "spec"),
    [
        (residual, "resnet18:stem_pool=yes"),
        (lambda: densenet(True), "densenet:"),
        (lambda: densenet(False), "densenet:"),
        (lambda: mobilenet(0.5), "mobilenetv2"),
        (lambda: mobilenet(0.75), "mobilenetv2"),
        (lambda: shufflenet("x0_5"), "shufflenetv2-x0.5"),
        (lambda: shufflenet("x2_0"), "shufflenetv2-x2"),
        (SmallGoogLeNet, "googlenet-3x3"),
    ],
)
def test_torchvision_networks_with_a_small_stem(network: object, spec: str) -> None:
    torch.manual_seed(0)
    made = randomised(network())  # type: ignore[operator]
    x = torch.rand(2, *SHAPE)
    with torch.no_grad():
        assert recovered(made.state_dict(), x, made(x)).startswith(spec)


class Named:
    """Layers of a state dict by name: `net("conv1", x)`, `net("conv1 bn1 relu", x)`, straight from tensors."""

    def __init__(self, state: State) -> None:
        self.state = state

    def __call__(self, names: str, x: torch.Tensor, prefix: str = "", stride: int = 1) -> torch.Tensor:
        for name in names.split():
            if name in ("relu", "silu"):
                x = getattr(F, name)(x)
                continue
            key = prefix + name
            weight, bias = self.state[f"{key}.weight"], self.state.get(f"{key}.bias")
            if f"{key}.running_mean" in self.state:
                mean, var = self.state[f"{key}.running_mean"], self.state[f"{key}.running_var"]
                x = F.batch_norm(x, mean, var, weight, bias)
            elif weight.ndim == 2:
                x = F.linear(x.mean((2, 3)), weight, bias)
            else:
                groups = x.shape[1] // weight.shape[1]
                x = F.conv2d(x, weight, bias, stride, weight.shape[2] // 2, groups=groups)
                stride = 1
        return x

    def has(self, name: str) -> bool:
        return any(key.startswith(name + ".") for key in self.state)

    def blocks(self, name: str) -> list[str]:
        """`layers.0.`, `layers.1.`, ... as many as there are."""
        return [f"{name}.{i}." for i in range(100) if self.has(f"{name}.{i}")]


def rep_vgg(net: Named, x: torch.Tensor) -> torch.Tensor:
    for at in ["stage0.", *(block for stage in range(1, 5) for block in net.blocks(f"stage{stage}"))]:
        stride = 2 if at in ("stage2.0.", "stage3.0.", "stage4.0.") else 1
        if net.has(at + "rbr_reparam"):
            x = net("rbr_reparam relu", x, at, stride)
            continue
        y = net("rbr_dense.conv rbr_dense.bn", x, at, stride) + net("rbr_1x1.conv rbr_1x1.bn", x, at, stride)
        x = F.relu(y + net("rbr_identity", x, at) if net.has(at + "rbr_identity") else y)
    return net("linear", x)


def googlenet(net: Named, x: torch.Tensor) -> torch.Tensor:
    x = net("0 1 relu", x, "pre_layers.")
    for name in ("a3", "b3", "a4", "b4", "c4", "d4", "e4", "a5", "b5"):
        if name in ("a4", "a5"):
            x = F.max_pool2d(x, 3, 2, 1)
        ways = [("b1", "0 1 relu"), ("b2", "0 1 relu 3 4 relu"), ("b3", "0 1 relu 3 4 relu 6 7 relu")]
        parts = [net(path, x, f"{name}.{way}.") for way, path in ways]
        parts.append(net("1 2 relu", F.max_pool2d(x, 3, 1, 1), f"{name}.b4."))
        x = torch.cat(parts, 1)
    return net("linear", x)


def efficient(net: Named, x: torch.Tensor) -> torch.Tensor:
    x = net("conv1 bn1 silu", x)
    for i, at in enumerate(net.blocks("layers")):
        y = x if i == 0 else net("conv1 bn1 silu", x, at)
        y = net("conv2 bn2 silu", y, at, 2 if i in (1, 3, 5, 11) else 1)
        y = y * net("se1 silu se2", y.mean((2, 3), keepdim=True), at + "se.").sigmoid()
        y = net("conv3 bn3", y, at)
        x = x + y if x.shape == y.shape else y
    return net("linear", x)


def shortcut(net: Named, x: torch.Tensor, at: str, stride: int) -> torch.Tensor:
    return net("shortcut.0 shortcut.1", x, at, stride) if net.has(at + "shortcut") else x


def reg(net: Named, x: torch.Tensor) -> torch.Tensor:
    x = net("conv1 bn1 relu", x)
    for at in [block for stage in range(1, 5) for block in net.blocks(f"layer{stage}")]:
        stride = 2 if at in ("layer3.0.", "layer4.0.") else 1
        y = net("conv2 bn2 relu", net("conv1 bn1 relu", x, at), at, stride)
        if net.has(at + "se"):
            y = y * net("se1 relu se2", y.mean((2, 3), keepdim=True), at + "se.").sigmoid()
        x = F.relu(net("conv3 bn3", y, at) + shortcut(net, x, at, stride))
    return net("linear", x)


def plain(net: Named, x: torch.Tensor, at: str, stride: int) -> torch.Tensor:
    return F.relu(net("conv1 bn1 relu conv2 bn2", x, at, stride) + shortcut(net, x, at, stride))


def tree(net: Named, x: torch.Tensor, at: str, stride: int) -> torch.Tensor:
    parts = []
    inner = [name for name in ("level_1", "left_tree", "left_node") if net.has(at + name)]
    for name in [*inner, "right_tree" if net.has(at + "right_tree") else "right_node"]:
        below = tree if net.has(f"{at}{name}.root") else plain
        x = below(net, x, f"{at}{name}.", 1 if parts else stride)
        parts.append(x)
    return net("root.conv root.bn relu", torch.cat(parts, 1), at)


def aggregation(net: Named, x: torch.Tensor) -> torch.Tensor:
    for name in ("base.", "layer1.", "layer2."):
        x = net("0 1 relu", x, name)
    for i in range(3, 7):
        x = tree(net, x, f"layer{i}.", 1 if i == 3 else 2)
    return net("linear", x)


def dual(net: Named, x: torch.Tensor) -> torch.Tensor:
    x = net("conv1 bn1 relu", x)
    for stage, d in enumerate((256, 512, 1024, 2048), start=1):
        for i, at in enumerate(net.blocks(f"layer{stage}")):
            stride = 2 if stage > 1 and i == 0 else 1
            y = net("conv3 bn3", net("conv2 bn2 relu", net("conv1 bn1 relu", x, at), at, stride), at)
            x = shortcut(net, x, at, stride)
            x = F.relu(torch.cat([x[:, :d] + y[:, :d], x[:, d:], y[:, d:]], 1))
    return net("linear", x)


def progressive(net: Named, x: torch.Tensor) -> torch.Tensor:
    x = net("conv1 bn1 relu", x)
    cells = [net.blocks("layer1"), ["layer2."], net.blocks("layer3"), ["layer4."], net.blocks("layer5")]
    for at in [cell for stage in cells for cell in stage]:
        stride = 2 if at in ("layer2.", "layer4.") else 1
        pooled = F.max_pool2d(x, 3, stride, 1)
        pooled = net("conv1 bn1", pooled, at) if stride == 2 else pooled
        far = net("conv1 bn1", x, at + "sep_conv1.", stride)
        if not net.has(at + "sep_conv2"):
            x = F.relu(far + pooled)
            continue
        near = net("conv1 bn1", x, at + "sep_conv2.", stride)
        middle = net("conv1 bn1", x, at + "sep_conv3.", stride)
        x = net("conv2 bn2 relu", torch.cat([F.relu(far + near), F.relu(pooled + middle)], 1), at)
    return net("linear", x)


REFERENCES = {
    "repvgg-a0": rep_vgg,
    "repvgg-a0-deploy": rep_vgg,
    "googlenet-three": googlenet,
    "efficientnet-b0": efficient,
    "regnet-x-200mf": reg,
    "regnet-y-400mf": reg,
    "dla-simple": aggregation,
    "dla": aggregation,
    "dpn26": dual,
    "pnasnet-a": progressive,
    "pnasnet-b": progressive,
}


@pytest.mark.parametrize("name", REFERENCES)
def test_networks_of_well_known_repositories(name: str) -> None:
    torch.manual_seed(0)
    state = randomised(build_architecture(name, classes=10)).state_dict()
    x = torch.rand(2, *SHAPE)
    with torch.no_grad():
        want = REFERENCES[name](Named(state), x)
        assert recovered(state, x, want, most=1) == name
        wrapped = {f"module.{key}": state[key] for key in sorted(state)}  # as safetensors sorts them
        assert recovered(wrapped, x, want, most=1) == name


def test_the_index_holds_every_published_network() -> None:
    for name, make in PUBLISHED.items():
        with torch.device("meta"):
            assert name in indexed_names(module_layers(make(10, 3)))


@pytest.mark.parametrize(("act", "kernel", "patch"), [(nn.GELU, 5, 2), (nn.GELU, 8, 1), (nn.ReLU, 7, 4)])
def test_conv_mixers(act: type[nn.Module], kernel: int, patch: int, tmp_path: Path) -> None:
    class Residual(nn.Module):
        def __init__(self, fn: nn.Module) -> None:
            super().__init__()
            self.fn = fn

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.fn(x) + x

    torch.manual_seed(0)
    blocks = []
    for _ in range(4):
        deep = [nn.Conv2d(32, 32, kernel, groups=32, padding="same"), act(), nn.BatchNorm2d(32)]
        blocks.append(
            nn.Sequential(Residual(nn.Sequential(*deep)), nn.Conv2d(32, 32, 1), act(), nn.BatchNorm2d(32))
        )
    stem = [nn.Conv2d(3, 32, patch, patch), act(), nn.BatchNorm2d(32)]
    network = randomised(
        nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d((1, 1)), nn.Flatten(), nn.Linear(32, 10))
    )
    x = torch.rand(2, *SHAPE)
    with torch.no_grad():
        want = network(x)
        spec = recovered(network.state_dict(), x, want)
        assert spec.startswith(f"convmixer:width=32,depth=4,kernel={kernel},patch={patch}")
        path = tmp_path / "mixer.pt"
        torch.save({"net": network.state_dict()}, path)
        again = load_classifier(str(path), arch=spec, normalise="none")
        assert torch.allclose(again(x), want, atol=1e-4)
