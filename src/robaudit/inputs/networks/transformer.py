"""Vision transformers (Dosovitskiy et al. 2021, https://arxiv.org/abs/2010.11929) as small images get them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from robaudit.errors import RobauditError
from robaudit.inputs.networks.family import Family, flag, priced
from robaudit.inputs.networks.texts import parse_plan, plan_text

#: Numbers that each head has of a token, and how unusual that is.
SHARES = {64: 0.0, 32: 0.3, 16: 0.5, 48: 0.6, 24: 0.6, 128: 0.8, 8: 0.9, 12: 1.0, 96: 1.0}


@dataclass(frozen=True)
class TransformerPlan:
    """A vision transformer.

    Attributes:
        width: numbers a token.
        depth: blocks.
        heads: of attention.
        inner: queries, keys and values a token, of all heads together.
        hidden: of the two layers after attention.
        patch: side of the squares that the image is cut into.
        conv: patches are embedded by a convolution, else by a linear layer.
        channels_last: such a linear layer is given (row, column, channel), else (channel, row, column).
        norm_patch: a norm before the linear layer of patches.
        norm_embedded: a norm after it.
        token: a learned token goes first.
        mean: the answer is read from the mean of all tokens, else from the first.
        last_norm: a norm after the blocks.
        mean_first: that norm follows the mean.
        post: norms after the additions instead of before the layers.
        batch: batch norm with stored statistics instead of layer norm.
        out: a linear layer after the heads.
        relu: ReLU instead of GELU.
        wide_scale: products are divided by the root of `inner`, else by that of each head's share.
        eps: what layer norm adds to the variance.

    """

    width: int
    depth: int
    heads: int
    inner: int
    hidden: int
    patch: int
    conv: bool = True
    channels_last: bool = True
    norm_patch: bool = False
    norm_embedded: bool = False
    token: bool = True
    mean: bool = False
    last_norm: bool = True
    mean_first: bool = False
    post: bool = False
    batch: bool = False
    out: bool = True
    relu: bool = False
    wide_scale: bool = False
    eps: float = 1e-5


class Learned(nn.Module):
    """Numbers that are learned as they are: the first token, or what is added to each position."""

    def __init__(self, count: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(1, count, width) * 0.02)


class TokenNorm(nn.BatchNorm1d):
    """Batch normalisation of tokens (N, T, width), each of the width's numbers by its own statistics."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, T, width) or (N, width) to the same."""
        return super().forward(x.transpose(1, 2)).transpose(1, 2) if x.ndim == 3 else super().forward(x)


class Attention(nn.Module):
    """Every token is given a mean of all tokens' values, weighed by how well its query meets their keys."""

    def __init__(self, plan: TransformerPlan) -> None:
        super().__init__()
        self.heads, self.scale = plan.heads, (plan.inner if plan.wide_scale else plan.inner // plan.heads)
        self.qkv = nn.Linear(plan.width, 3 * plan.inner)
        self.out: nn.Module = nn.Linear(plan.inner, plan.width) if plan.out else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, T, width) to the same."""
        q, k, v = (part.unflatten(2, (self.heads, -1)).transpose(1, 2) for part in self.qkv(x).chunk(3, 2))
        mixed = F.scaled_dot_product_attention(q, k, v, scale=self.scale**-0.5)
        return self.out(mixed.transpose(1, 2).flatten(2))


class Block(nn.Module):
    """Attention, then two layers for each token alone, each added to what it was given."""

    def __init__(self, plan: TransformerPlan) -> None:
        super().__init__()
        self.post = plan.post
        self.norm1, self.attention = _norm(plan), Attention(plan)
        self.norm2 = _norm(plan)
        self.fc1, self.fc2 = nn.Linear(plan.width, plan.hidden), nn.Linear(plan.hidden, plan.width)
        self.act = nn.ReLU() if plan.relu else nn.GELU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, T, width) to the same."""
        if self.post:
            x = self.norm1(x + self.attention(x))
            return self.norm2(x + self._alone(x))
        x = x + self.attention(self.norm1(x))
        return x + self._alone(self.norm2(x))

    def _alone(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc2(self.act(self.fc1(x)))


class VisionTransformer(nn.Module):
    """(N, in_channels, H, W), normalised, to logits (N, classes).

    Raises:
        RobauditError: heads that do not divide `inner`, patches the image's side;
            or `inner` is not the width, without `out`.

    """

    def __init__(self, plan: TransformerPlan, classes: int, in_channels: int, image_size: int) -> None:
        super().__init__()
        if min(plan.heads, plan.patch, plan.width) < 1 or plan.inner % plan.heads or image_size % plan.patch:
            raise RobauditError(
                f"vit: heads={plan.heads} must divide inner={plan.inner}, patch={plan.patch} the image's {image_size}"
            )
        if not plan.out and plan.inner != plan.width:
            raise RobauditError(f"vit: without out, inner={plan.inner} must be width={plan.width}")
        self.plan = plan
        features, width = in_channels * plan.patch**2, plan.width
        self.norm_patch: nn.Module = nn.LayerNorm(features) if plan.norm_patch else nn.Identity()
        self.embed: nn.Module = (
            nn.Conv2d(in_channels, width, plan.patch, plan.patch) if plan.conv else nn.Linear(features, width)
        )
        self.norm_embedded: nn.Module = nn.LayerNorm(width) if plan.norm_embedded else nn.Identity()
        self.token = Learned(1, width) if plan.token else None
        self.position = Learned((image_size // plan.patch) ** 2 + plan.token, width)
        self.blocks = nn.Sequential(*(Block(plan) for _ in range(plan.depth)))
        self.norm: nn.Module = _norm(plan) if plan.last_norm else nn.Identity()
        self.head = nn.Linear(width, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits."""
        tokens = self._embedded(x)
        if self.token is not None:
            tokens = torch.cat([self.token.weight.expand(len(x), -1, -1), tokens], 1)
        tokens = self.blocks(tokens + self.position.weight)
        if self.plan.mean_first and self.plan.mean:
            return self.head(self.norm(tokens.mean(1)))
        tokens = self.norm(tokens)
        return self.head(tokens.mean(1) if self.plan.mean else tokens[:, 0])

    def _embedded(self, x: torch.Tensor) -> torch.Tensor:
        """(N, T, width): the image's patches, row by row."""
        if self.plan.conv:
            return self.norm_embedded(self.embed(x).flatten(2).transpose(1, 2))
        side = self.plan.patch
        squares = x.unfold(2, side, side).unfold(3, side, side)  # (N, C, rows, columns, side, side)
        order = (0, 2, 3, 4, 5, 1) if self.plan.channels_last else (0, 2, 3, 1, 4, 5)
        tokens = squares.permute(order).flatten(3).flatten(1, 2)
        return self.norm_embedded(self.embed(self.norm_patch(tokens)))


def _norm(plan: TransformerPlan) -> nn.Module:
    return TokenNorm(plan.width) if plan.batch else nn.LayerNorm(plan.width, plan.eps)


def _heads(plan: TransformerPlan) -> dict[int, float]:
    return {plan.inner // share: cost for share, cost in SHARES.items() if plan.inner % share == 0}


FAMILY = Family(
    TransformerPlan,
    parse=lambda text: parse_plan(text, TransformerPlan) if text.startswith("vit:") else None,
    text=lambda plan: plan_text("vit", plan),
    build=VisionTransformer,
    free=(
        priced("heads", _heads),
        flag("mean", 0.8, when=lambda plan: plan.token),
        priced("channels_last", lambda plan: {} if plan.conv else {True: 0.0, False: 0.4}),
        flag("relu"),
        flag("wide_scale"),
        flag("post"),
        flag("mean_first", when=lambda plan: plan.mean),
    ),
)
