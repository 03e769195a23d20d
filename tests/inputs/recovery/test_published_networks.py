"""Networks of well-known repositories for CIFAR: recovered from a bare state dict, with equal outputs."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torchvision import models
from torchvision.models.googlenet import BasicConv2d

from robaudit.inputs import load_classifier
from robaudit.inputs.networks import build_architecture
from robaudit.inputs.networks.published import PUBLISHED
from robaudit.inputs.recovery.catalogue import build_catalogue
from robaudit.inputs.recovery.catalogue_index import indexed_names
from robaudit.inputs.recovery.layers import module_layers
from tests.inputs.recovery.recovering import SHAPE, randomised, recovered
from tests.inputs.recovery.references import REFERENCES, Named


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


@pytest.mark.parametrize(
    ("kind", "name", "device"),
    [
        ("timm", "levit_128s", "meta"),
        ("timm", "tiny_vit_5m_224", "meta"),
        ("timm", "beit_base_patch16_224", "meta"),
        ("torchvision", "regnet_y_400mf", "cpu"),  # its widths are computed with tensors
        ("torchvision", "vit_b_16", "meta"),
    ],
)
def test_the_index_is_of_layers_as_they_are_read_now(kind: str, name: str, device: str) -> None:
    with torch.device(device):
        layers = module_layers(build_catalogue(kind, name, 10, 3))
    assert f"{kind}:{name}" in indexed_names(layers)


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
