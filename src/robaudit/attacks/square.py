"""Square Attack (Andriushchenko et al. 2020, https://arxiv.org/abs/1912.00049): random search, no gradients."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from robaudit.attacks import geometry
from robaudit.attacks.objectives import Model, forward, margin, misclassified, nearly_misclassified
from robaudit.attacks.randomness import Draws
from robaudit.attacks.state import Examples
from robaudit.attacks.windows import LEAST, on_device, pattern, patterns, window, window_side
from robaudit.devices import is_accelerator

#: As `DOUBT`, but wider: which queries are kept decides on all that follow.
_DOUBT = 0.05
_STEPS_PER_RUN = 2**20  # each restart draws from a range of steps of its own
#: Queries drawn at once on the CPU, where many small operations cost more than a large one. An accelerator would have
#: to be waited for to learn whether any row has run out.
_AHEAD = 64


@dataclass
class SquareState:
    """`x_best` has the largest margin so far, `margin_best` (n,); `candidate` was tried last.

    `draws` (n, queries, numbers) are those of the queries from `drawn_at` (n,) on.
    """

    x: Tensor
    y: Tensor
    ids: Tensor
    run: Tensor
    x_best: Tensor
    margin_best: Tensor
    candidate: Tensor
    draws: Tensor
    drawn_at: Tensor
    iteration: Tensor
    fooled: Tensor
    near_miss: Tensor
    finished: Tensor
    nonfinite: Tensor

    @property
    def closest(self) -> Tensor:
        """(n,) the largest margin so far."""
        return self.margin_best


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
    #: About one query in twenty is kept, so eight at once are seven steps or so.
    tries: int = 8

    def runs(self, classes: int) -> int:
        """One a restart."""
        return self.restarts

    def start(self, examples: Examples, run: Tensor) -> SquareState:
        """The first query is taken whatever it gives."""
        x, n = examples.x, len(examples)
        first = self._first(x, Draws(self.seed, self.name), examples.ids, run * _STEPS_PER_RUN)
        flag = torch.zeros(n, dtype=torch.bool, device=x.device)
        zeros = torch.zeros(n, dtype=torch.int64, device=x.device)
        return SquareState(
            x=x,
            y=examples.y,
            ids=examples.ids,
            run=run,
            x_best=first,
            margin_best=torch.full((n,), float("-inf"), device=x.device),
            candidate=first.clone(),
            draws=self._draw(x, examples.ids, run, zeros, 1 if is_accelerator(x.device) else _AHEAD),
            drawn_at=zeros,
            iteration=zeros.clone(),
            fooled=flag,
            near_miss=flag.clone(),
            finished=flag.clone(),
            nonfinite=flag.clone(),
        )

    def step(self, model: Model, s: SquareState, tries: int = 1) -> SquareState:
        """Up to `tries` queries, all from the best point: those after the first that is kept are not counted.

        The outcome is that of one query after the other, for a query that is not kept leaves nothing behind.
        """
        n, rows = len(s.y), torch.arange(len(s.y), device=s.y.device)
        draws, drawn_at = s.draws, s.drawn_at
        if is_accelerator(s.x.device):
            now = self._draw(s.x, s.ids, s.run, s.iteration, tries)
        else:
            if bool((s.iteration + tries > drawn_at + draws.shape[1]).any()):
                draws, drawn_at = self._draw(s.x, s.ids, s.run, s.iteration, _AHEAD), s.iteration
            number = (s.iteration - drawn_at)[:, None] + torch.arange(tries)
            now = draws[rows[:, None], number]
        tried = self._queries(s, now)
        logits = forward(model, tried)
        labels = s.y.repeat_interleave(tries)
        near_miss = nearly_misclassified(logits, labels, _DOUBT).reshape(n, tries)
        finite, fooled = logits.isfinite().all(1).reshape(n, tries), misclassified(logits, labels)
        value, fooled = margin(logits, labels).reshape(n, tries), fooled.reshape(n, tries)
        in_budget = s.iteration[:, None] + torch.arange(tries, device=s.y.device) < self.queries
        keep = finite & in_budget & ((value > s.margin_best[:, None]) | fooled)
        kept = keep.any(1)
        # The place of the first that is kept, or of the last.
        last = torch.where(kept, keep.int().argmax(1), in_budget.sum(1) - 1)
        candidate = tried.reshape(n, tries, *s.x.shape[1:])[rows, last]
        reached = torch.arange(tries, device=s.y.device) <= last[:, None]
        iteration = s.iteration + last + 1
        return SquareState(
            x=s.x,
            y=s.y,
            ids=s.ids,
            run=s.run,
            x_best=torch.where(geometry.per_row(kept, s.x), candidate, s.x_best),
            margin_best=torch.where(kept, value[rows, last], s.margin_best),
            candidate=candidate,
            draws=draws,
            drawn_at=drawn_at,
            iteration=iteration,
            fooled=kept & fooled[rows, last],
            near_miss=s.near_miss | (reached & near_miss).any(1),
            finished=iteration >= self.queries,
            nonfinite=s.nonfinite | (reached & ~finite).any(1),
        )

    def _draw(self, x: Tensor, ids: Tensor, run: Tensor, iteration: Tensor, ahead: int) -> Tensor:
        """(n, ahead, numbers): what the queries from `iteration` (n,) on need."""
        count = x.shape[1] + (2 if self.norm == "Linf" else 5)
        steps = (run * _STEPS_PER_RUN + iteration)[:, None] + torch.arange(ahead, device=x.device)
        every = ids[:, None].expand_as(steps)
        u = Draws(self.seed, self.name).uniform(every.flatten(), steps.flatten(), count)
        return u.reshape(len(ids), ahead, count)

    def _queries(self, s: SquareState, draws: Tensor) -> Tensor:
        """(n tries, C, H, W): what the next queries are, were none of those before them kept."""
        tries = draws.shape[1]
        x, x_best = (t.repeat_interleave(tries, 0) if tries > 1 else t for t in (s.x, s.x_best))
        iteration = (s.iteration[:, None] + torch.arange(tries, device=x.device)).flatten()
        change = self._change_linf if self.norm == "Linf" else self._change_mass
        changed = change(x, x_best, draws.flatten(0, 1), iteration)
        # The first query is where the attack starts.
        return torch.where(geometry.per_row(iteration == 0, x), x_best, changed)

    def _first(self, x: Tensor, draws: Draws, ids: Tensor, step: Tensor) -> Tensor:
        """Vertical stripes for Linf (Section 4.1), a grid of bumps for L2 (Section 4.2) and L1."""
        n, c, h, w = x.shape
        if self.norm == "Linf":
            stripes = draws.signs(ids, step, c * w).reshape(n, c, 1, w)
            return (x + self.eps * stripes).clamp(0, 1)
        side = max(min(h, w) // 5, 1)
        rows, columns = h // side, w // side
        u = draws.signs(ids, step, rows * columns * (c + 1)).reshape(n, rows, columns, c + 1)
        signs = u[..., :c].permute(0, 3, 1, 2).repeat_interleave(side, 2).repeat_interleave(side, 3)
        bumps = pattern(side, self.norm).to(x.device)
        tiles = torch.where((u[..., c] > 0)[..., None, None], bumps.T, bumps)
        tiles = tiles.permute(0, 1, 3, 2, 4).reshape(n, 1, rows * side, columns * side)
        delta = torch.zeros_like(x)
        top, left = (h - rows * side) // 2, (w - columns * side) // 2
        delta[:, :, top : top + rows * side, left : left + columns * side] = tiles * signs
        return self._within(x, delta)

    def _within(self, x: Tensor, delta: Tensor) -> Tensor:
        """`x` moved by `delta` brought to the radius: scaled, and in L1 projected, so that all of it is spent."""
        zero = torch.zeros_like(x)
        length = geometry.per_row(geometry.distance(delta, zero, self.norm).clamp_min(1e-12), delta)
        scale = self.eps / length
        if self.norm == "L1":
            return geometry.project_l1(x + delta * scale.clamp_min(1), x, self.eps)
        return (x + delta * scale).clamp(0, 1)

    def _change_linf(self, x: Tensor, x_best: Tensor, u: Tensor, iteration: Tensor) -> Tensor:
        """A square moved to the ball's face, one sign a channel (Algorithm 2)."""
        n, c, h, w = x.shape
        side = window_side(iteration, h, w)
        top = (u[:, 0] * (h - side + 1)).long()
        left = (u[:, 1] * (w - side + 1)).long()
        signs = (u[:, 2:] >= 0.5).to(x.dtype).reshape(n, c, 1, 1) * 2 - 1
        return torch.where(window(top, left, side, h, w), (x + self.eps * signs).clamp(0, 1), x_best)

    def _change_mass(self, x: Tensor, x_best: Tensor, u: Tensor, iteration: Tensor) -> Tensor:
        """Mass moved from one window to another (Algorithm 3), measured in L2 or L1."""
        n, c, h, w = x.shape
        order = 2.0 if self.norm == "L2" else 1.0
        side = window_side(iteration, h, w, least=LEAST)
        corner = (u[:, :4] * (on_device((h, w, h, w), u.device) - side[:, None] + 1)).long()
        gain, drop = (window(corner[:, k], corner[:, k + 1], side, h, w) for k in (0, 2))
        delta = x_best - x

        def size(values: Tensor) -> Tensor:
            return torch.linalg.vector_norm(values, ord=order, dim=(2, 3), keepdim=True)

        def powered(values: Tensor) -> Tensor:
            return values.abs().pow(order).sum((2, 3), keepdim=True)

        old, mass = delta * gain, powered(delta * (gain | drop))
        spare = (self.eps**order - powered(delta).sum(1, keepdim=True)).clamp_min(0)
        signs = (u[:, 5:] >= 0.5).to(x.dtype).reshape(n, c, 1, 1) * 2 - 1
        bumps = patterns(side, corner, u[:, 4] >= 0.5, (h, w), self.norm)
        new = bumps * signs + old / (size(old) + 1e-12)
        new = new / (size(new) + 1e-12) * (spare / c + mass).pow(1 / order)
        if self.norm == "L1":  # more than there is: the projection takes it from where least is
            new = new * c
        return self._within(x, torch.where(gain, new, torch.where(drop, 0.0, delta)))
