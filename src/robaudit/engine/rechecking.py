"""What counts as a break: a candidate sealed inside the ball that the strict float32 model misclassifies."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from robaudit.attacks.objectives import Model, forward
from robaudit.devices import in_parts
from robaudit.evidence import seal
from robaudit.fast import strict_arithmetic
from robaudit.plan import ThreatModel

#: Below this share of the spread of the logits a margin is rounding, not a misclassification.
ROUNDING = 1e-5
#: Candidates that the strict model is given at once.
_BATCH = 1024


def strictly_misclassified(strict: Model, x: Tensor, y: Tensor, least: float = ROUNDING) -> Tensor:
    """(n,) bool: what the strict model says of inputs that already lie in the ball and in [0, 1].

    The lead over the true class must be at least `least` of the logits' spread.
    """
    with strict_arithmetic():
        return clearly_misclassified(forward(strict, x), y, least)


def clearly_misclassified(logits: Tensor, y: Tensor, least: float = ROUNDING) -> Tensor:
    """(n,) bool: the same of logits (n, K) that the strict model gave."""
    others = logits.scatter(1, y[:, None], float("-inf")).amax(1)
    lead = others - logits.gather(1, y[:, None]).squeeze(1)
    spread = logits.amax(1) - logits.amin(1)
    return logits.isfinite().all(1) & (lead > least * spread)


@dataclass(frozen=True)
class Breaks:
    """Of k slots that broke: `slots` (k,), the `steps` (k,) done when they did, `witness` (k, C, H, W) float32."""

    slots: Tensor
    steps: Tensor
    witness: Tensor


@dataclass(frozen=True)
class _Group:
    """Of one step: (k,) slots and steps done, on the CPU, and (k, …) on the device of the search."""

    slots: Tensor
    steps: Tensor
    x: Tensor
    y: Tensor
    candidate: Tensor

    def part(self, keep: Tensor) -> _Group:
        """Those where `keep` (k,) bool is true."""
        return _Group(
            *(getattr(self, item.name)[keep.to(getattr(self, item.name).device)] for item in fields(self))
        )


class Candidates:
    """Inputs that fooled the search model and wait to be re-checked, those of several steps together.

    A slot goes on meanwhile, and the first of its candidates that stands decides, so that the outcome is that of
    looking after every step. On an accelerator each look means waiting for it.

    Args:
        strict: the float32 model.
        threat: the ball that candidates are sealed in.
        every: steps after which a candidate is looked at, at the latest.

    """

    def __init__(self, strict: Model, threat: ThreatModel, every: int) -> None:
        self._strict, self._threat, self._every = strict, threat, every
        self._waiting: list[_Group] = []
        self._age = 0

    def add(self, slots: Tensor, steps: Tensor, x: Tensor, y: Tensor, candidate: Tensor) -> None:
        """Those of one step: (k,) slots and steps done, on the CPU, and (k, …) on the device of the search."""
        if len(slots):
            self._waiting.append(_Group(slots, steps, x, y, candidate))

    def waiting(self, count: int) -> Tensor:
        """(count,) bool: the slots, of `count`, that have a candidate waiting."""
        found = torch.zeros(count, dtype=torch.bool)
        for group in self._waiting:
            found[group.slots] = True
        return found

    def due(self, live: Tensor, finished: Tensor) -> bool:
        """Whether it is time to look, once a step; `live` and `finished` are (slots,) bool."""
        if not self._waiting:
            return False
        self._age += 1
        waiting = self.waiting(len(live))
        return self._age >= self._every or bool((waiting & finished).any()) or bool(waiting[live].all())

    def judge(self) -> Breaks | None:
        """What became of all that wait; None where nothing broke. None waits afterwards."""
        waiting, self._waiting, self._age = self._waiting, [], 0
        if not waiting:
            return None
        slots, steps, x, y, candidate = (
            torch.cat([getattr(group, item.name) for group in waiting]) for item in fields(_Group)
        )
        sealed = seal(candidate.float().cpu().numpy(), x.float().cpu().numpy(), self._threat)
        witness = torch.from_numpy(sealed)

        def stand(rows: Tensor) -> Tensor:
            points, labels = witness[rows].to(y.device), y[rows.to(y.device)]
            return strictly_misclassified(self._strict, points, labels, 2 * ROUNDING).cpu()

        stands = torch.cat(in_parts(stand, torch.arange(len(slots)), _BATCH))
        kept: list[int] = []
        seen: set[int] = set()
        for place in stands.nonzero().squeeze(1).tolist():
            if int(slots[place]) not in seen:
                seen.add(int(slots[place]))
                kept.append(place)
        return Breaks(slots[kept], steps[kept], witness[kept]) if kept else None

    def forget(self, slots: Tensor) -> None:
        """Drop what waits of `slots` (k,)."""
        groups = [group.part(~torch.isin(group.slots, slots)) for group in self._waiting]
        self._waiting = [group for group in groups if len(group.slots)]

    def moved(self, slots: Tensor) -> None:
        """The slots `slots` (k,) get the numbers 0 to k - 1; the others are gone, and nothing of them waits."""
        places = torch.full((int(slots.max()) + 1,), -1)
        places[slots] = torch.arange(len(slots))
        self._waiting = [replace(group, slots=places[group.slots]) for group in self._waiting]
