"""The forward passes of well-known networks for CIFAR, straight from the tensors of their published files by name."""

from __future__ import annotations

import torch
import torch.nn.functional as F

State = dict[str, torch.Tensor]


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
