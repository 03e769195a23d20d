"""What an audit found, example by example. Accuracies, gaps and intervals are derived from it, never stored."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robaudit.evidence.scouts import SCOUTS, within_beginning
from robaudit.plan import AuditPlan

SCHEMA = "robaudit/1"

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
#: An attack, or several: the worst case over them. `autoattack` is the worst case over the plan's.
Attacks = str | tuple[str, ...]


class Outcome(IntEnum):
    """What became of one example under one attack."""

    ROBUST = 0
    BROKEN = 1
    NONFINITE = 2
    NOT_RUN = 3


@dataclass(frozen=True)
class AttackRecord:
    """One attack's outcomes, aligned with the evidence's examples.

    Attributes:
        outcome: (n,) of `Outcome`; examples that were misclassified to begin with are NOT_RUN.
        steps: (n,), how many steps the attack took on each.
        forwards, backwards: (n,), the model passes that took.

    """

    outcome: Ints
    steps: Ints
    forwards: Ints
    backwards: Ints


@dataclass(frozen=True)
class Header:
    """Everything about an audit but its examples; plain JSON-ready data.

    `claim` is the published robust accuracy that the audit was asked about: `value` and `attack`, or nothing.
    `early_stopping` says how far an audit that may stop early has come (see `audit.early_stopping`), and where it was
    decided: `examples`, `forwards` and `backwards` by then. `precision` is what attacks last searched in.
    `eps_curve` holds the plan's `radii`, and of the first `examples`, of which `correct` are right, how many stand at
    each radius under `pgd10` and in the `worst` case (`audit.eps_curve`). All are empty in files of earlier versions.
    """

    plan: AuditPlan
    model: dict[str, Any]
    data: dict[str, Any]
    versions: dict[str, str]
    device: str
    findings: tuple[dict[str, str], ...] = ()
    probes: dict[str, float] = field(default_factory=dict)
    early_stopping: dict[str, int] = field(default_factory=dict)
    claim: dict[str, Any] = field(default_factory=dict)
    eps_curve: dict[str, Any] = field(default_factory=dict)
    precision: str = ""
    seconds: float = 0.0
    finished: bool = False


@dataclass(frozen=True)
class Evidence:
    """The examples audited so far, in audit order.

    Attributes:
        header: the plan, the model, the data.
        ids: (n,), each example's index in its split.
        labels, predictions: (n,), the true class and the model's on the clean input; -1 where not finite.
        attacks: by name, for the attacks that were begun.
        fosc, fosc_normalised, sgcs: (n,) float, of PGD-10's trajectory; NaN where not measured.
        zero_gradients: (n,) float, how many of PGD-10's steps + 1 gradients were exactly zero; likewise.

    """

    header: Header
    ids: Ints
    labels: Ints
    predictions: Ints
    attacks: dict[str, AttackRecord] = field(default_factory=dict)
    fosc: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    fosc_normalised: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    sgcs: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    zero_gradients: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def correct(self) -> Bools:
        """(n,) bool: correctly classified before any attack."""
        return self.labels == self.predictions

    def known(self, attack: Attacks) -> Bools:
        """(n,) bool: whether the example counts in this attack's accuracy: misclassified, robust or broken.

        Only of the examples before the first that is still to be run: of a stretch that is under way the broken
        ones are known first, and counting them alone would be biased.
        """
        return self.reached(attack) & ~self.unanswered(attack)

    def reached(self, attack: Attacks) -> Bools:
        """(n,) bool: the examples before the first that is still to be run."""
        return np.asarray(
            np.logical_and.accumulate(~self.correct | (self._outcome(attack) != Outcome.NOT_RUN))
        )

    def unanswered(self, attack: Attacks) -> Bools:
        """(n,) bool: met logits that were not finite, or a break that could not be repeated."""
        return self.correct & (self._outcome(attack) == Outcome.NONFINITE)

    def survives(self, attack: Attacks) -> Bools:
        """(n,) bool: correctly classified, and still so after this attack."""
        return self.correct & (self._outcome(attack) == Outcome.ROBUST)

    def broken(self, attack: Attacks) -> Bools:
        """(n,) bool: known to be broken by this attack, whatever is still to be run."""
        return self.correct & (self._outcome(attack) == Outcome.BROKEN)

    def open(self, attack: Attacks) -> Bools:
        """(n,) bool: correctly classified, and this attack still to be run."""
        return self.correct & (self._outcome(attack) == Outcome.NOT_RUN)

    def _outcome(self, attack: Attacks) -> Ints:
        if attack == "autoattack":
            attack = tuple(name for name in self.header.plan.members if name in self.header.plan.attacks)
        if isinstance(attack, tuple):
            return self._worst(attack)
        record = self.attacks.get(attack)
        return record.outcome if record else np.full(len(self), int(Outcome.NOT_RUN))

    def _worst(self, names: tuple[str, ...]) -> Ints:
        """The worst case: broken by any, robust if robust under all, otherwise not known yet."""
        worst = np.full(len(self), int(Outcome.NOT_RUN))
        if not names:
            return worst
        rows = np.stack([self._outcome(name) for name in names])
        worst[(rows == Outcome.ROBUST).all(axis=0)] = Outcome.ROBUST
        worst[(rows == Outcome.NONFINITE).any(axis=0) & (rows != Outcome.NOT_RUN).all(axis=0)] = (
            Outcome.NONFINITE
        )
        worst[(rows == Outcome.BROKEN).any(axis=0)] = Outcome.BROKEN
        return worst

    @property
    def passes(self) -> tuple[int, int]:
        """Forward and backward passes, of one example each, of all attacks and the clean pass."""
        records = self.attacks.values()
        return (
            len(self) * self.header.plan.eot + sum(int(record.forwards.sum()) for record in records),
            sum(int(record.backwards.sum()) for record in records),
        )

    def broken_early(self, scout: str) -> Bools:
        """(n,) bool: broken by an attack within the beginning that is called `scout`."""
        record = self.attacks.get(SCOUTS[scout])
        if record is None:
            return np.zeros(len(self), dtype=bool)
        early = within_beginning(scout, record.steps, self.header.plan)
        return np.asarray((record.outcome == Outcome.BROKEN) & early)
