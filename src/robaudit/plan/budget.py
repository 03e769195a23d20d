"""How long each attack tries, and the gaps at which robustness counts as overestimated."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass


@dataclass(frozen=True)
class Budget:
    """How long each attack tries on one example; the defaults are the standard AutoAttack's."""

    pgd_steps: int = 10
    apgd_steps: int = 100
    fab_steps: int = 100
    targets: int = 9
    square_queries: int = 5000
    restarts: int = 1

    def __post_init__(self) -> None:
        for item in dataclasses.fields(self):
            value = getattr(self, item.name)
            if not isinstance(value, int) or value < 1:
                raise ValueError(f"{item.name} {value} must be a whole number of at least 1")


@dataclass(frozen=True)
class Bounds:
    """The gaps of robust accuracy at which robustness counts as overestimated, as fractions.

    `pgd_square` is the paper's criterion (Li et al., Table 2: 8 points). `pgd_autoattack` sits above the
    3.4 to 7.7 points that ordinary TRADES and MART models show.
    """

    pgd_square: float = 0.08
    pgd_autoattack: float = 0.10

    def __post_init__(self) -> None:
        for item in dataclasses.fields(self):
            value = getattr(self, item.name)
            if not 0 < value < 1:
                raise ValueError(
                    f"{item.name} bound {value:g} must be in (0, 1), for example 0.08 for 8 points"
                )


#: Which parts of the budget each attack spends.
SPENDS: dict[str, tuple[str, ...]] = {
    "pgd10": ("pgd_steps",),
    "apgd-ce": ("apgd_steps", "restarts"),
    "apgd-dlr": ("apgd_steps", "restarts"),
    "apgd-t": ("apgd_steps", "targets", "restarts"),
    "fab": ("fab_steps", "targets", "restarts"),
    "fab-t": ("fab_steps", "targets", "restarts"),
    "square": ("square_queries", "restarts"),
    "surrogate": ("apgd_steps", "restarts"),
    "transfer": ("apgd_steps", "restarts"),
}
