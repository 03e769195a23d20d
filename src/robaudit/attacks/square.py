"""Square Attack (Andriushchenko et al. 2020, https://arxiv.org/abs/1912.00049): random search, no gradients."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from robaudit.attacks import geometry
from robaudit.attacks.objectives import Model, forward, margin, misclassified
from robaudit.attacks.randomness import Draws
from robaudit.attacks.state import Examples

# The schedule of p, the share of pixels in a square, after so many queries (Section 5 of the paper).
_P_INIT = 0.8
_HALVE_P_AFTER = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
_STEPS_PER_RUN = 2**20  # each restart draws from a range of steps of its own
#: Queries drawn at once on the CPU, where many small operations cost more than a large one. A GPU would have to be
#: waited for to learn whether any row has run out.
_AHEAD = 32


@dataclass
class SquareState:
    """`x_best` has the largest margin so far, `margin_best` (n,); `candidate` was tried last, `x_next` is next.

    `draws` (n, queries, numbers) are those of the queries from `drawn_at` (n,) on.
    """

    x: Tensor
    y: Tensor
    ids: Tensor
    run: Tensor
    x_best: Tensor
    margin_best: Tensor
    candidate: Tensor
    x_next: Tensor
    draws: Tensor
    drawn_at: Tensor
    iteration: Tensor
    fooled: Tensor
    finished: Tensor
    nonfinite: Tensor


def window_side(iteration: Tensor, height: int, width: int, least: int = 1) -> Tensor:
    """The side of the square tried at each query, (n,) int64 in [least, min(height, width)]."""
    thresholds = torch.tensor(_HALVE_P_AFTER, device=iteration.device)
    halvings = torch.bucketize(iteration - 1, thresholds)
    share = _P_INIT / (2.0**halvings)
    side = torch.sqrt(share * height * width).round().to(torch.int64).clamp_min(least)
    if least > 1:  # the L2 pattern wants an odd side
        side = side + (side % 2 == 0)
    return side.clamp_max(min(height, width))


def window(top: Tensor, left: Tensor, side: Tensor, height: int, width: int) -> Tensor:
    """(n, 1, height, width) bool: each row's square."""
    y = torch.arange(height, device=top.device)
    x = torch.arange(width, device=top.device)
    rows = (y >= top[:, None]) & (y < (top + side)[:, None])
    columns = (x >= left[:, None]) & (x < (left + side)[:, None])
    return (rows[:, :, None] & columns[:, None, :])[:, None]


def _pyramid(height: int, width: int) -> Tensor:
    """The bump of the L2 attack, of unit length: steps that fall off as 1 / k^2 from the middle (Section 4.2)."""
    bump = torch.zeros(height, width)
    top, left = height // 2, width // 2
    for k in range(max(height // 2 + 1, width // 2 + 1)):
        bump[max(top - k, 0) : top + k + 1, max(left - k, 0) : left + k + 1] += 1.0 / (k + 1) ** 2
    return bump / bump.square().sum().sqrt()


@lru_cache(maxsize=64)
def l2_pattern(side: int) -> Tensor:
    """(side, side) of unit length: one bump up, one down, side by side."""
    half = side // 2
    pattern = torch.cat([_pyramid(half, side), -_pyramid(side - half, side)]) if half else torch.ones(1, 1)
    return pattern / pattern.square().sum().sqrt()


@dataclass(frozen=True)
class Square:
    """Square Attack on the margin, `queries` forward passes a restart."""

    norm: str
    eps: float
    queries: int = 5000
    restarts: int = 1
    seed: int = 0
    name: str = "square"
    forwards: int = 1
    backwards: int = 0

    def runs(self, classes: int) -> int:
        """One a restart."""
        return self.restarts

    def start(self, examples: Examples, run: Tensor) -> SquareState:
        """The first query is taken whatever it gives."""
        x, n = examples.x, len(examples)
        first = self._first(x, Draws(self.seed, self.name), examples.ids, run * _STEPS_PER_RUN)
        flag = torch.zeros(n, dtype=torch.bool, device=x.device)
        one = torch.ones(n, dtype=torch.int64, device=x.device)
        return SquareState(
            x=x,
            y=examples.y,
            ids=examples.ids,
            run=run,
            x_best=first,
            margin_best=torch.full((n,), float("-inf"), device=x.device),
            candidate=first.clone(),
            x_next=first.clone(),
            draws=self._draw(x, examples.ids, run, one),
            drawn_at=one,
            iteration=torch.zeros_like(one),
            fooled=flag,
            finished=flag.clone(),
            nonfinite=flag.clone(),
        )

    def step(self, model: Model, s: SquareState) -> SquareState:
        """One query: keep the change tried if the margin grew, and draw the next."""
        logits = forward(model, s.x_next)
        value = margin(logits, s.y)
        finite = logits.isfinite().all(1)
        fooled = misclassified(logits, s.y)
        accept = finite & ((value > s.margin_best) | fooled)
        x_best = torch.where(geometry.per_row(accept, s.x), s.x_next, s.x_best)
        iteration = s.iteration + 1
        draws, drawn_at = s.draws, s.drawn_at
        if draws.shape[1] == 1 or bool((iteration >= drawn_at + draws.shape[1]).any()):
            draws, drawn_at = self._draw(s.x, s.ids, s.run, iteration), iteration
        now = draws[torch.arange(len(s.y), device=draws.device), iteration - drawn_at]
        return SquareState(
            x=s.x,
            y=s.y,
            ids=s.ids,
            run=s.run,
            x_best=x_best,
            margin_best=torch.where(accept, value, s.margin_best),
            candidate=s.x_next,
            x_next=self._next(s.x, x_best, now, iteration),
            draws=draws,
            drawn_at=drawn_at,
            iteration=iteration,
            fooled=fooled,
            finished=iteration >= self.queries,
            nonfinite=s.nonfinite | ~finite,
        )

    def _draw(self, x: Tensor, ids: Tensor, run: Tensor, iteration: Tensor) -> Tensor:
        """(n, queries, numbers): what the queries from `iteration` (n,) on need."""
        ahead = 1 if x.is_cuda else _AHEAD
        count = x.shape[1] + (2 if self.norm == "Linf" else 5)
        steps = (run * _STEPS_PER_RUN + iteration)[:, None] + torch.arange(ahead, device=x.device)
        every = ids[:, None].expand_as(steps)
        u = Draws(self.seed, self.name).uniform(every.flatten(), steps.flatten(), count)
        return u.reshape(len(ids), ahead, count)

    def _first(self, x: Tensor, draws: Draws, ids: Tensor, step: Tensor) -> Tensor:
        """Vertical stripes for Linf (Section 4.1), a grid of bumps for L2 (Section 4.2)."""
        n, c, h, w = x.shape
        if self.norm == "Linf":
            stripes = draws.signs(ids, step, c * w).reshape(n, c, 1, w)
            return (x + self.eps * stripes).clamp(0, 1)
        side = max(min(h, w) // 5, 1)
        rows, columns = h // side, w // side
        u = draws.signs(ids, step, rows * columns * (c + 1)).reshape(n, rows, columns, c + 1)
        signs = u[..., :c].permute(0, 3, 1, 2).repeat_interleave(side, 2).repeat_interleave(side, 3)
        pattern = l2_pattern(side).to(x.device)
        tiles = torch.where((u[..., c] > 0)[..., None, None], pattern.T, pattern)
        tiles = tiles.permute(0, 1, 3, 2, 4).reshape(n, 1, rows * side, columns * side)
        delta = torch.zeros_like(x)
        top, left = (h - rows * side) // 2, (w - columns * side) // 2
        delta[:, :, top : top + rows * side, left : left + columns * side] = tiles * signs
        return (x + delta / geometry.per_row(geometry.l2(delta), delta) * self.eps).clamp(0, 1)

    def _next(self, x: Tensor, x_best: Tensor, u: Tensor, iteration: Tensor) -> Tensor:
        change = self._change_linf if self.norm == "Linf" else self._change_l2
        return change(x, x_best, u, iteration)

    def _change_linf(self, x: Tensor, x_best: Tensor, u: Tensor, iteration: Tensor) -> Tensor:
        """A square moved to the ball's face, one sign a channel (Algorithm 2)."""
        n, c, h, w = x.shape
        side = window_side(iteration, h, w)
        top = (u[:, 0] * (h - side + 1)).long()
        left = (u[:, 1] * (w - side + 1)).long()
        signs = (u[:, 2:] >= 0.5).to(x.dtype).reshape(n, c, 1, 1) * 2 - 1
        return torch.where(window(top, left, side, h, w), (x + self.eps * signs).clamp(0, 1), x_best)

    def _change_l2(self, x: Tensor, x_best: Tensor, u: Tensor, iteration: Tensor) -> Tensor:
        """Mass moved from one window to another (Algorithm 3)."""
        n, c, h, w = x.shape
        side = window_side(iteration, h, w, least=3)
        corner = (u[:, :4] * (torch.tensor([h, w, h, w], device=u.device) - side[:, None] + 1)).long()
        gain, drop = (window(corner[:, k], corner[:, k + 1], side, h, w) for k in (0, 2))
        delta = x_best - x
        old = delta * gain
        old_length = old.square().sum((2, 3), keepdim=True).sqrt()
        mass = (delta * (gain | drop)).square().sum((2, 3), keepdim=True)
        spare = (self.eps**2 - delta.square().sum((1, 2, 3), keepdim=True)).clamp_min(0)
        signs = (u[:, 5:] >= 0.5).to(x.dtype).reshape(n, c, 1, 1) * 2 - 1
        new = self._patterns(side, corner, u[:, 4] >= 0.5, h, w) * signs + old / (old_length + 1e-12)
        new = new / (new.square().sum((2, 3), keepdim=True).sqrt() + 1e-12) * (spare / c + mass).sqrt()
        delta = torch.where(gain, new, torch.where(drop, 0.0, delta))
        return (x + delta / geometry.per_row(geometry.l2(delta).clamp_min(1e-12), delta) * self.eps).clamp(
            0, 1
        )

    @staticmethod
    def _patterns(side: Tensor, corner: Tensor, turned: Tensor, h: int, w: int) -> Tensor:
        """(n, 1, h, w): the L2 pattern of each row's side, turned or not, put at its corner."""
        canvas = torch.zeros(len(side), 1, h, w, device=side.device)
        for size in side.unique().tolist():
            rows = (side == size).nonzero().squeeze(1)
            pattern = l2_pattern(size).to(side.device)
            tiles = torch.where(turned[rows, None, None], pattern.T, pattern)
            reach = torch.arange(size, device=side.device)
            y = (corner[rows, 0, None] + reach)[:, :, None]
            x = (corner[rows, 1, None] + reach)[:, None, :]
            canvas[rows[:, None, None], 0, y, x] = tiles
        return canvas
