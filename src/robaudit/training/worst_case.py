"""Robust accuracy that stands up, at the price of few passes: the worst case of several attacks of `check`.

PGD-10 first, which is measured anyway; then Square's first queries on what PGD-10 leaves, which tell of masking; then a
margin attack on the likeliest targets of what is left. An example is robust where none of them breaks it. Where these
few passes break much that PGD-10 leaves, more passes break more (docs/training.md), and are made. That is for choosing;
what the chosen network is worth is measured once more at the end of a run (`confirming`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from robaudit.attacks import ATTACKS, Examples, Retired, forward
from robaudit.devices import in_parts, is_accelerator
from robaudit.engine import Engine
from robaudit.evidence import Outcome
from robaudit.fast import SearchModel
from robaudit.plan import AuditPlan, Budget
from robaudit.stats import Interval, proportion

#: Of the intervals that are logged.
CONFIDENCE = 0.95
#: Passes of an example that nothing breaks: 2 targets of 11 gradients each, and 100 queries. A third target broke at
#: most one more of 84 to 93 examples (digits, eps 0.3, three networks).
BUDGET = Budget(apgd_steps=10, targets=2, square_queries=100)
#: The same in a run that is hard to measure: in most of its last epochs the few passes break this share of the first
#: examples, which PGD-10 leaves.
LONG, HARD = Budget(apgd_steps=50, targets=3, square_queries=2000), 0.08
#: Slots: an accelerator is given many small steps at once, which it would wait for the interpreter between.
_SLOTS, _ACCELERATOR_SLOTS = 256, 1024
#: Held-out examples of an epoch that cannot be the best; one that may be is measured on as many times more,
#: and again, up to the most that epochs are chosen by. All of them tell what the chosen one is worth (`confirming`).
FIRST_EXAMPLES, TIMES_MORE, MOST_EXAMPLES = 128, 4, 512


@dataclass(frozen=True)
class Standing:
    """What is left of the first examples held out.

    Attributes:
        robust: (k,) bool on the CPU, of the first k.
        few: (k,) bool, those that the few passes leave.
        square: (k,) bool, those that PGD-10 leaves and Square's first queries break.
        total: examples that networks are chosen by, at least k.
        long: whether `robust` is what more passes than the few leave.
        first_gap: the share of the first few examples that PGD-10 leaves and the few passes break.

    """

    robust: Tensor
    few: Tensor
    square: Tensor
    total: int
    long: bool = False
    first_gap: float = 0.0

    @property
    def interval(self) -> Interval:
        """Robust accuracy, with its interval at `CONFIDENCE`."""
        return proportion(int(self.robust.sum()), len(self.robust), CONFIDENCE)

    @property
    def black_box_gap(self) -> float:
        """The share of examples that PGD-10 leaves and Square breaks."""
        return float(self.square.double().mean())

    @property
    def whole(self) -> bool:
        """Whether all examples that networks are chosen by are known."""
        return len(self.robust) == self.total

    def lead(self, other: Standing) -> tuple[int, int]:
        """Examples, of those that both know, that only this one and that only the other leaves, by as many passes."""
        both = self.long and other.long
        mine, theirs = (item.robust if both else item.few for item in (self, other))
        count = min(len(mine), len(theirs))
        mine, theirs = mine[:count], theirs[:count]
        return int((mine & ~theirs).sum()), int((theirs & ~mine).sum())

    def state(self) -> dict[str, Any]:
        """Its fields, for `Standing(**state)`."""
        return dict(vars(self))


class WorstCase:
    """The attacks on one network.

    Args:
        classifier: from (n, C, H, W) in [0, 1] to logits; left as it is.
        search: its form that attacks search with.
        examples: x (n, C, H, W) in [0, 1], y (n,) labels, ids (n,), which key the draws.
        plan: the ball and the seed.

    """

    def __init__(
        self,
        classifier: nn.Module,
        search: nn.Module,
        examples: tuple[Tensor, Tensor, Tensor],
        plan: AuditPlan,
    ) -> None:
        self._classifier, (self._x, self._y, self._ids), self._plan = classifier, examples, plan
        device = self._x.device
        slots = _ACCELERATOR_SLOTS if is_accelerator(device) else _SLOTS
        exact = search.exact if isinstance(search, SearchModel) else None
        # Slots that no example needs take several of its queries at once.
        self._engine = Engine(search, classifier, plan.threat, slots, device, exact=exact)

    def of(self, rows: Tensor, budget: Budget = BUDGET) -> tuple[Tensor, Tensor]:
        """Of the examples at `rows` (k,), which PGD-10 leaves standing: those robust, those that Square breaks."""
        square = self.broken("square", rows, budget)
        left = rows[~square]
        return left[~self.broken("apgd-t", left, budget)], rows[square]

    def broken(self, name: str, rows: Tensor, budget: Budget) -> Tensor:
        """(k,) bool: the examples at `rows` that one attack breaks."""
        broken = torch.zeros(len(rows), dtype=torch.bool)
        if not len(rows):
            return broken
        here = rows.to(self._x.device)
        logits = torch.cat(in_parts(lambda part: forward(self._classifier, self._x[part]), here, _SLOTS))
        examples = Examples(self._x[here], self._y[here], self._ids[here], logits)

        def note(group: Retired) -> None:
            broken[group.rows] = group.outcome == int(Outcome.BROKEN)

        self._engine.run(ATTACKS[name](replace(self._plan, budget=budget)), examples, note)
        return broken


def stand(
    worst: WorstCase,
    after_pgd: Tensor,
    goes_on: Callable[[Standing], bool],
    hard: Callable[[float], bool] = lambda gap: gap >= HARD,
) -> Standing:
    """What is robust of few examples, and of `TIMES_MORE` times as many as long as that is worth it.

    Args:
        worst: the attacks on the network.
        after_pgd: (n,) bool, the examples that PGD-10 leaves.
        goes_on: told what is known of the first examples; whether more of them, and more passes, are wanted.
        hard: told the `first_gap`; whether the run is hard to measure.

    """
    total, done, long, gap = min(len(after_pgd), MOST_EXAMPLES), 0, False, 0.0
    robust, few, square = torch.zeros(3, total, dtype=torch.bool)

    def known(count: int) -> Standing:
        first, second, third = (item[:count].clone() for item in (robust, few, square))
        return Standing(first, second, third, total=total, long=long, first_gap=gap)

    while done < total and (not done or goes_on(known(done))):
        until = min(TIMES_MORE * done or FIRST_EXAMPLES, total)
        rows = after_pgd[done:until].nonzero().squeeze(1) + done
        left, by_square = worst.of(rows)
        few[left], robust[left], square[by_square] = True, True, True
        gap = gap if done else (len(rows) - len(left)) / until
        if hard(gap) and (done or goes_on(known(until))):
            robust[left], long = False, True
            robust[worst.of(left, LONG)[0]] = True
        done = until
    return known(done)
