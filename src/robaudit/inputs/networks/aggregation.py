"""Deep layer aggregation (Yu et al. 2018, https://arxiv.org/abs/1707.06484) for small images.

In two forms that are published: trees whose parts feed the root as in the paper, and binary trees.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from robaudit.inputs.networks.frame import classifying, conv_norm
from robaudit.inputs.networks.residual import Block, ResidualPlan


def _block(ins: int, outs: int, stride: int) -> Block:
    """Two 3x3 convolutions with a shortcut."""
    return Block(ResidualPlan((outs,), (1,), (stride,)), 0, ins, stride, first=True)


class Root(nn.Module):
    """A 1x1 convolution over what it joins (Eq. 2)."""

    def __init__(self, ins: int, outs: int) -> None:
        super().__init__()
        self.conv, self.bn = conv_norm(ins, outs)

    def forward(self, parts: list[torch.Tensor]) -> torch.Tensor:
        """Tensors (N, C_i, H, W) to (N, outs, H, W)."""
        return F.relu(self.bn(self.conv(torch.cat(parts, 1))))


class Tree(nn.Module):
    """Parts in a row, each given what the one before makes; the root joins them all.

    In a binary tree there are two parts, smaller trees or at the lowest level blocks. Otherwise there are trees of
    falling level, then two blocks (Fig. 3).
    """

    def __init__(self, ins: int, outs: int, level: int, stride: int, *, binary: bool) -> None:
        super().__init__()
        parts = [("left_tree", level - 1), ("right_tree", level - 1)]
        if not binary:
            below = [(f"level_{i}", i) for i in range(level - 1, 0, -1)]
            parts = [*below, ("left_node", 0), ("right_node", 0)]
        self.root, self.names = Root(len(parts) * outs, outs), [name for name, _ in parts]
        for i, (name, height) in enumerate(parts):
            first = (outs, 1) if i else (ins, stride)
            part = (
                Tree(first[0], outs, height, first[1], binary=binary)
                if height
                else _block(first[0], outs, first[1])
            )
            self.add_module(name, part)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, ins, H, W) to (N, outs, H / stride, W / stride)."""
        parts = []
        for name in self.names:
            x = self.get_submodule(name)(x)
            parts.append(x)
        return self.root(parts)


def deep_layers(binary: bool, classes: int, in_channels: int) -> nn.Module:
    """The whole network, of binary trees or not."""
    body: dict[str, nn.Module] = {}
    for name, ins, outs in (("base", in_channels, 16), ("layer1", 16, 16), ("layer2", 16, 32)):
        body[name] = nn.Sequential(*conv_norm(ins, outs, 3), nn.ReLU())
    for i, (level, stride) in enumerate(((1, 1), (2, 2), (2, 2), (1, 2))):
        body[f"layer{i + 3}"] = Tree(32 << i, 64 << i, level, stride, binary=binary)
    return classifying(body, 512, classes)
