"""What goes into an evidence file and comes out of it, row by row."""

from __future__ import annotations

from dataclasses import dataclass

from robaudit.evidence.evidence import Outcome


@dataclass(frozen=True)
class ExampleRow:
    """One audited example: its place in the audit's order, its id, and what the model says of it."""

    position: int
    id: int
    label: int
    prediction: int


@dataclass(frozen=True)
class OutcomeRow:
    """One example under one attack; what follows `backwards` is None where it was not broken.

    `witness` and `image` are coded; `prediction` is the class that the strict model gives the witness.
    """

    attack: str
    id: int
    outcome: Outcome
    steps: int
    forwards: int
    backwards: int
    witness: bytes | None = None
    image: bytes | None = None
    prediction: int | None = None


@dataclass(frozen=True)
class MetricsRow:
    """What PGD-10's trajectory on one example gave; see `Evidence`."""

    id: int
    fosc: float
    fosc_normalised: float
    sgcs: float
    zero_gradients: float


@dataclass(frozen=True)
class WitnessRow:
    """A claim to re-check: this attack's `witness` for the example `id`, whose clean `image` is beside it.

    `prediction` is the class that the audit's model gave the witness; None in files that do not say.
    """

    attack: str
    id: int
    label: int
    image: bytes
    witness: bytes
    prediction: int | None = None
