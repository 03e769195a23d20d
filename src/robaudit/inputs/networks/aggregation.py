"""Deep layer aggregation (Yu et al. 2018, https://arxiv.org/abs/1707.06484) for small images.

In two forms that are published: trees whose parts feed the root as in the paper, and binary trees.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn


class PlainBlock(nn.Module):
    """Two 3x3 convolutions with a shortcut."""

    def __init__(self, ins: int, outs: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(ins, outs, 3, stride, 1, bias=False), nn.BatchNorm2d(outs)
        self.conv2, self.bn2 = nn.Conv2d(outs, outs, 3, 1, 1, bias=False), nn.BatchNorm2d(outs)
        needed = stride != 1 or ins != outs
        short = [nn.Conv2d(ins, outs, 1, stride, bias=False), nn.BatchNorm2d(outs)] if needed else []
        self.shortcut = nn.Sequential(*short)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, ins, H, W) to (N, outs, H / stride, W / stride)."""
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + self.shortcut(x))


class Root(nn.Module):
    """A 1x1 convolution over what it joins (Eq. 2)."""

    def __init__(self, ins: int, outs: int) -> None:
        super().__init__()
        self.conv, self.bn = nn.Conv2d(ins, outs, 1, bias=False), nn.BatchNorm2d(outs)

    def forward(self, parts: list[torch.Tensor]) -> torch.Tensor:
        """Tensors (N, C_i, H, W) to (N, outs, H, W)."""
        return F.relu(self.bn(self.conv(torch.cat(parts, 1))))


class BinaryTree(nn.Module):
    """Two subtrees in a row (blocks at the lowest level), joined by the root."""

    def __init__(self, ins: int, outs: int, level: int, stride: int) -> None:
        super().__init__()
        self.root = Root(2 * outs, outs)
        if level == 1:
            self.left_tree: nn.Module = PlainBlock(ins, outs, stride)
            self.right_tree: nn.Module = PlainBlock(outs, outs, 1)
        else:
            self.left_tree = BinaryTree(ins, outs, level - 1, stride)
            self.right_tree = BinaryTree(outs, outs, level - 1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, ins, H, W) to (N, outs, H / stride, W / stride)."""
        left = self.left_tree(x)
        return self.root([left, self.right_tree(left)])


class Tree(nn.Module):
    """Subtrees of falling level in a row, then two blocks; the root joins them all (Fig. 3)."""

    def __init__(self, ins: int, outs: int, level: int, stride: int) -> None:
        super().__init__()
        self.below = [f"level_{i}" for i in range(level - 1, 0, -1)]
        self.root = Root((level + 1) * outs, outs)
        for i, name in zip(range(level - 1, 0, -1), self.below, strict=True):
            self.add_module(name, Tree(ins, outs, i, stride))
        first = (ins, outs, stride) if level == 1 else (outs, outs, 1)
        self.left_node, self.right_node = PlainBlock(*first), PlainBlock(outs, outs, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, ins, H, W) to (N, outs, H / stride, W / stride)."""
        parts = []
        for name in (*self.below, "left_node", "right_node"):
            x = self.get_submodule(name)(x)
            parts.append(x)
        return self.root(parts)


def deep_layers(simple: bool, classes: int, in_channels: int) -> nn.Module:
    """The whole network.

    Args:
        simple: of binary trees.
        classes: outputs.
        in_channels: of the images.

    Returns:
        (N, in_channels, H, W), normalised, to logits (N, classes).

    """
    network, tree = nn.Sequential(), BinaryTree if simple else Tree
    for name, ins, outs in (("base", in_channels, 16), ("layer1", 16, 16), ("layer2", 16, 32)):
        conv = nn.Conv2d(ins, outs, 3, padding=1, bias=False)
        network.add_module(name, nn.Sequential(conv, nn.BatchNorm2d(outs), nn.ReLU()))
    for i, (level, stride) in enumerate(((1, 1), (2, 2), (2, 2), (1, 2))):
        network.add_module(f"layer{i + 3}", tree(32 << i, 64 << i, level, stride))
    network.add_module("pool", nn.AdaptiveAvgPool2d(1))
    network.add_module("flatten", nn.Flatten())
    network.add_module("linear", nn.Linear(512, classes))
    return network
