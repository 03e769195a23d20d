"""Plain networks, one module after the other, from a line of words.

    conv32k3 relu conv32k3 relu max2 flatten fc200 relu fc10

| word | meaning |
|---|---|
| `conv32k3s2p1g4` | convolution to 32 channels, kernel 3, stride 2 (else 1), padding 1 (else 0), 4 groups |
| `pad1-2` | zeros before (left and top: 1) and after (2) |
| `skip` ... `add` | what is between, plus its input; or plus what `else` ... makes of the input |
| `skip` ... `cat`, `cat-new` | the channels of both, the input's first or last |
| `fc200` | linear layer; `fcK` has one output a class |
| a trailing `n` | without bias |
| `bn`, `bn0`, `gn8`, `gc16`, `in` | a word of `norms` |
| `max2`, `avg2`, `max3s2p1` | pooling: window, stride (else the window), padding |
| `gap`, `gmp`, `adapt7` | global average and maximum pooling, average pooling to 7x7 |
| `flatten`, `flatten-nhwc` | to (N, features), channels first or last |
| `relu`, `tanh`, ... | a word of `ACTIVATIONS` |
| `prelu`, `prelu-each` | a learned slope below zero: one number, one a channel |
"""

from __future__ import annotations

import itertools
import re

import torch
from torch import nn

from robaudit.errors import RobauditError
from robaudit.inputs.networks.activations import ACTIVATIONS, SLOPES, make_activation
from robaudit.inputs.networks.norms import is_norm, make_norm

CONV = re.compile(r"conv(\d+|K)k(\d+)(?:s(\d+))?(?:p(\d+))?(?:g(\d+))?(n?)")
LINEAR = re.compile(r"fc(\d+|K)(n?)")
PAD = re.compile(r"pad(\d+)-(\d+)")
POOL = re.compile(r"(max|avg)(\d+)(?:s(\d+))?(?:p(\d+))?")
#: Words that end a `skip`.
JOINS = ("add", "cat", "cat-new")
#: Modules in a row, and the channels and side after them; of side 0 it is flat, and channels are features.
Row = tuple[list[nn.Module], tuple[int, int]]
#: No published network has a layer wider than this; a typing mistake has.
WIDEST = 1 << 20


class ChannelsLast(nn.Module):
    """Flattens in the order (H, W, C), as TensorFlow does."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) to (N, H * W * C)."""
        return x.permute(0, 2, 3, 1).flatten(1)


class Skip(nn.Sequential):
    """Modules, and what they give joined with their input, or with what other modules make of it."""

    def __init__(self, main: list[nn.Module], shortcut: list[nn.Module], join: str) -> None:
        super().__init__(*main)
        self.count, self.join = len(main), join
        self.shortcut = nn.Sequential(*shortcut)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, C, H, W) to the same shape, or another number of channels."""
        y = x
        for module in itertools.islice(self, self.count):
            y = module(y)
        x = self.shortcut(x)
        return x + y if self.join == "add" else torch.cat([x, y] if self.join == "cat" else [y, x], 1)


def build_sequential(text: str, classes: int, in_channels: int, image_size: int) -> nn.Sequential:
    """The network that the words of `text` describe.

    Args:
        text: see the table above.
        classes: what `K` stands for.
        in_channels: of the images.
        image_size: their height and width.

    Returns:
        (N, in_channels, image_size, image_size) to logits (N, classes).

    Raises:
        RobauditError: an unknown word, or layers that do not fit each other.

    """
    row: Row = [], (in_channels, image_size)
    outer: list[list[Row]] = []  # for each `skip`: the row before it, and its main branch once that is read
    for word in text.split():
        modules, shape = row
        if word == "skip":
            outer.append([row])
            row = [], shape
        elif word == "else" or word in JOINS:
            if not outer or (word == "else" and len(outer[-1]) > 1):
                raise RobauditError(f"sequential:{text}: '{word}' needs a 'skip' before it")
            if len(outer[-1]) == 1:
                outer[-1].append(row)
                row = [], outer[-1][0][1]
            if word != "else":
                before, main = outer.pop()
                row = _joined(before, main, row, word)
        else:
            module, *after = _module(word.replace("K", str(classes)), *shape)
            modules.append(module)
            row = modules, (after[0], after[1])
        if row[1][1] < 0 or not 1 <= row[1][0] <= WIDEST:
            raise RobauditError(
                f"{word}: does not fit an image of {image_size} pixels in 'sequential:{text}'"
            )
    if outer:
        raise RobauditError(f"sequential:{text}: has {len(outer)} 'skip' without an 'add' or 'cat'")
    return nn.Sequential(*row[0])


def _joined(before: Row, main: Row, shortcut: Row, join: str) -> Row:
    """A row and both branches behind it as one module; side -1 where their shapes do not fit."""
    (channels, side), other = main[1], shortcut[1]
    fits = side == other[1] and (join != "add" or channels == other[0])
    shape = channels if join == "add" else channels + other[0], side if fits else -1
    return [*before[0], Skip(main[0], shortcut[0], join)], shape


def pooled(side: int, kernel: int, stride: int, padding: int = 0) -> int:
    """The side that a window leaves, or -1 if it does not fit."""
    return (
        (side + 2 * padding - kernel) // stride + 1 if 0 < kernel <= side + 2 * padding and stride > 0 else -1
    )


def padded_far(words: list[str], most: int) -> list[str]:
    """The first convolutions with an odd kernel and stride 2 padded one less on the near side, as TensorFlow does."""
    found: list[str] = []
    for word in words:
        match = re.fullmatch(r"(conv\w+?k(\d+)s2)p(\d+)(\w*)", word)
        if match and most and int(match[2]) == 2 * int(match[3]) + 1:
            found += [f"pad{int(match[3]) - 1}-{match[3]}", match[1] + match[4]]
            most -= 1
        else:
            found.append(word)
    return found


def _module(word: str, channels: int, side: int) -> tuple[nn.Module, int, int]:
    """A word's module and the channels and side after it; side -1 where it does not fit."""
    if word in ACTIVATIONS or word in SLOPES:
        return make_activation(word, channels), channels, side
    if is_norm(word):
        return make_norm(word, channels, flat=not side), channels, side
    if word in ("flatten", "flatten-nhwc"):
        flat = channels * side * side if side else channels
        return nn.Flatten() if word == "flatten" else ChannelsLast(), flat, 0
    if match := CONV.fullmatch(word):
        return _conv(match, channels, side)
    if match := LINEAR.fullmatch(word):
        return _linear(match, channels, side)
    if match := PAD.fullmatch(word):
        before, after = int(match[1]), int(match[2])
        fits = side > 0 and before + after <= side
        return nn.ZeroPad2d((before, after) * 2), channels, side + before + after if fits else -1
    if match := POOL.fullmatch(word):
        return _pool(match, channels, side)
    if match := re.fullmatch(r"gap|gmp|adapt(\d+)", word):
        target = int(match[1] or 1)
        kind = nn.AdaptiveMaxPool2d if word == "gmp" else nn.AdaptiveAvgPool2d
        return kind(target), channels, target if side and target else -1
    raise RobauditError(f"{word}: not a word of a 'sequential:' architecture; see its documentation")


def _linear(match: re.Match[str], features: int, side: int) -> tuple[nn.Module, int, int]:
    outs = int(match[1])
    if side or not 0 < outs <= WIDEST or features > WIDEST:
        return nn.Identity(), outs, -1
    return nn.Linear(features, outs, bias=not match[2]), outs, 0


def _pool(match: re.Match[str], channels: int, side: int) -> tuple[nn.Module, int, int]:
    kernel, stride, padding = int(match[2]), int(match[3] or match[2]), int(match[4] or 0)
    after = pooled(side, kernel, stride, padding)
    if after < 0 or 2 * padding > kernel:
        return nn.Identity(), channels, -1
    return (nn.MaxPool2d if match[1] == "max" else nn.AvgPool2d)(kernel, stride, padding), channels, after


def _conv(match: re.Match[str], channels: int, side: int) -> tuple[nn.Module, int, int]:
    outs, kernel = int(match[1]), int(match[2])
    stride, padding, groups = (int(match[i] or default) for i, default in ((3, 1), (4, 0), (5, 1)))
    after = pooled(side, kernel, stride, padding) if side else -1
    fits = 0 < outs <= WIDEST and groups > 0 and channels % groups == 0 and outs % groups == 0
    if after < 0 or not fits:
        return nn.Identity(), outs, -1
    return nn.Conv2d(channels, outs, kernel, stride, padding, groups=groups, bias=not match[6]), outs, after
