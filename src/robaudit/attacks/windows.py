"""Square's windows: how large they are at each query, and what the attacks in L2 and L1 put into them.

Andriushchenko et al. 2020, https://arxiv.org/abs/1912.00049, Sections 4.2 and 5; for L1 Croce & Hein 2021,
https://arxiv.org/abs/2103.01208, Section 4.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

# The schedule of p, the share of pixels in a square, after these many queries (Section 5 of the paper).
_P_INIT = 0.8
_HALVE_P_AFTER = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
#: Pixels, of the side of a window of the attacks that move mass, those in L2 and L1.
LEAST = 3
#: As which power of the distance from its middle a bump falls off, and the norm in which it has unit size.
_FALLS, _ORDERS = {"L2": 2, "L1": 4}, {"L2": 2.0, "L1": 1.0}


@lru_cache(maxsize=64)
def on_device(values: tuple[int, ...], device: torch.device) -> Tensor:
    """(n,) int64, brought to the device once."""
    with torch.inference_mode(False):
        return torch.tensor(values, device=device)


def window_side(iteration: Tensor, height: int, width: int, least: int = 1) -> Tensor:
    """The side of the square tried at each query, (n,) int64 in [least, min(height, width)]."""
    halvings = torch.bucketize(iteration - 1, on_device(_HALVE_P_AFTER, iteration.device))
    share = _P_INIT / (2.0**halvings)
    side = torch.sqrt(share * height * width).round().to(torch.int64).clamp_min(least)
    if least > 1:  # the pattern wants an odd side
        side = side + (side % 2 == 0)
    return side.clamp_max(min(height, width))


def window(top: Tensor, left: Tensor, side: Tensor, height: int, width: int) -> Tensor:
    """(n, 1, height, width) bool: each row's square."""
    y = torch.arange(height, device=top.device)
    x = torch.arange(width, device=top.device)
    rows = (y >= top[:, None]) & (y < (top + side)[:, None])
    columns = (x >= left[:, None]) & (x < (left + side)[:, None])
    return (rows[:, :, None] & columns[:, None, :])[:, None]


def _pyramid(height: int, width: int, norm: str) -> Tensor:
    """A bump of unit size: steps that fall off as 1 / k^2 from the middle, 1 / k^4 in L1 (Section 4.2)."""
    bump = torch.zeros(height, width)
    top, left = height // 2, width // 2
    for k in range(max(height // 2 + 1, width // 2 + 1)):
        bump[max(top - k, 0) : top + k + 1, max(left - k, 0) : left + k + 1] += 1.0 / (k + 1) ** _FALLS[norm]
    return bump / torch.linalg.vector_norm(bump.flatten(), ord=_ORDERS[norm])


@lru_cache(maxsize=64)
def pattern(side: int, norm: str) -> Tensor:
    """(side, side) of unit size in `norm`, L2 or L1: one bump up, one down, side by side."""
    half = side // 2
    both = (
        torch.cat([_pyramid(half, side, norm), -_pyramid(side - half, side, norm)])
        if half
        else torch.ones(1, 1)
    )
    return both / torch.linalg.vector_norm(both.flatten(), ord=_ORDERS[norm])


@lru_cache(maxsize=8)
def _pattern_table(h: int, w: int, norm: str, device: torch.device) -> tuple[Tensor, Tensor]:
    """The patterns of all sides that an image of h by w meets, brought to the device once.

    Returns:
        pages (sides, most, most), each pattern in the corner of its page; and (most + 1,) int64, the page of each side.

    """
    with torch.inference_mode(False):
        schedule = torch.tensor([0, *(after + 1 for after in _HALVE_P_AFTER)])
        sides = window_side(schedule, h, w, least=LEAST).unique()
        most = int(sides.max())
        pages, page = torch.zeros(len(sides), most, most), torch.zeros(most + 1, dtype=torch.int64)
        for number, side in enumerate(sides.tolist()):
            pages[number, :side, :side] = pattern(side, norm)
            page[side] = number
        return pages.to(device), page.to(device)


def patterns(side: Tensor, corner: Tensor, turned: Tensor, size: tuple[int, int], norm: str) -> Tensor:
    """(n, 1, *size): the pattern of each row's side, turned or not, put at its corner; 0 elsewhere."""
    h, w = size
    pages, page = _pattern_table(h, w, norm, side.device)
    y, x = torch.arange(h, device=side.device), torch.arange(w, device=side.device)
    down, across = (
        y - corner[:, 0, None],
        x - corner[:, 1, None],
    )  # from the window's corner, (n, h) and (n, w)
    row, column = down[:, :, None], across[:, None, :]
    turned = turned[:, None, None]
    first, second = torch.where(turned, column, row), torch.where(turned, row, column)
    most = pages.shape[-1] - 1
    values = pages[page[side][:, None, None], first.clamp(0, most), second.clamp(0, most)]
    inside = (row >= 0) & (column >= 0) & (row < side[:, None, None]) & (column < side[:, None, None])
    return torch.where(inside, values, 0.0)[:, None]
