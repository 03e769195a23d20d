"""Whether a reading is masked: by bounds that no healthy network crosses, and by distance from the run's own past.

A reading is PGD's normalised FOSC (0: every pixel where the gradient wants it, 1: no better than the centre) and SGCS
(1: the gradient's signs agree along the trajectory, 0: they say nothing of each other). Neither depends on the loss's
scale, so a network that merely grows confident does not look masked. Li et al. (Figure 2) find that the two change
together when a run becomes masked, so both must. docs/training.md holds the runs behind the bounds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

#: Masked whatever came before: FOSC above and SGCS below, or an SGCS so low that gradients vanish or are noise.
HIGHEST_FOSC, LOWEST_SGCS, NO_SGCS = 0.2, 0.62, 0.35
#: Suspected, where somebody confirms it: an SGCS that honest networks were not seen below, or both a little off.
SUSPECT_SGCS, SUSPECT_FOSC, SUSPECT_BOTH = 0.65, 0.15, 0.7
#: A jump is this many robust deviations from the median of the healthy past, and at least so much in itself.
DEVIATIONS, LEAST_FOSC, LEAST_SGCS = 8.0, 0.08, 0.08
_MAD = 1.4826  # makes the median deviation of a normal law its standard deviation


@dataclass(frozen=True)
class Reading:
    """One judged reading.

    Attributes:
        masked: whether the gradients mislead PGD.
        reason: the numbers that say so, or say that it is rugged; else empty.
        recovered: the first reading after masked ones that is not.
        rugged: not masked, and the gradients mislead PGD all the same: what it reports stands up nevertheless.
        weak: not masked, and PGD-10 leaves many more examples than the worst case of several attacks nevertheless.

    """

    masked: bool = False
    reason: str = ""
    recovered: bool = False
    rugged: bool = False
    weak: bool = False


class Watch:
    """Judges readings one after the other; the healthy ones become the past that the next are compared with.

    Args:
        memory: healthy readings remembered.
        past: how many of them it takes before jumps are judged.

    """

    def __init__(self, memory: int = 32, past: int = 3) -> None:
        self.memory, self.past = memory, past
        self._healthy: list[tuple[float, float]] = []
        self._masked = False

    def observe(self, fosc_normalised: float, sgcs: float) -> Reading:
        """Judge one reading and remember it if it is healthy.

        Args:
            fosc_normalised: in [0, 2].
            sgcs: in [-1, 1].

        """
        reason = self.judge(fosc_normalised, sgcs)
        recovered = self._masked and not reason
        self._masked = bool(reason)
        if not reason:
            self.remember(fosc_normalised, sgcs)
        return Reading(bool(reason), reason, recovered)

    def remember(self, fosc_normalised: float, sgcs: float) -> None:
        """A healthy reading."""
        self._healthy = [*self._healthy, (fosc_normalised, sgcs)][-self.memory :]

    def suspect(self, fosc_normalised: float, sgcs: float) -> str:
        """Why the reading is worth a closer look; empty where it is not."""
        if sgcs < SUSPECT_SGCS or (fosc_normalised > SUSPECT_FOSC and sgcs < SUSPECT_BOTH):
            return f"normalised FOSC {fosc_normalised:.3f} and SGCS {sgcs:.3f}"
        return ""

    def judge(self, fosc_normalised: float, sgcs: float) -> str:
        """Why the reading is masked; empty where it is not. Nothing is remembered."""
        if not (math.isfinite(fosc_normalised) and math.isfinite(sgcs)):
            return "FOSC or SGCS is not finite"
        seen = f"normalised FOSC {fosc_normalised:.3f} and SGCS {sgcs:.3f}"
        if sgcs < NO_SGCS:
            return f"{seen}: the gradients of one trajectory hardly agree (below {NO_SGCS:g})"
        if fosc_normalised > HIGHEST_FOSC and sgcs < LOWEST_SGCS:
            return f"{seen}: beyond {HIGHEST_FOSC:g} and {LOWEST_SGCS:g}"
        if len(self._healthy) >= self.past:
            most, least = self.jump()
            if fosc_normalised > most and sgcs < least:
                return f"{seen}: away from the run's own past (beyond {most:.3f} and {least:.3f})"
        return ""

    def jump(self) -> tuple[float, float]:
        """The normalised FOSC above which, and the SGCS below which, a reading has left the healthy past."""
        foscs, similar = zip(*self._healthy, strict=True)
        centre, spread = robust(foscs)
        most = centre + max(DEVIATIONS * spread, LEAST_FOSC)
        centre, spread = robust(similar)
        return most, centre - max(DEVIATIONS * spread, LEAST_SGCS)

    def state(self) -> dict[str, Any]:
        """As JSON-ready data."""
        healthy = [list(item) for item in self._healthy]
        return {"healthy": healthy, "masked": self._masked}

    def load(self, state: dict[str, Any]) -> None:
        """What `state` gave."""
        # Earlier versions remembered an epoch that had diverged, too.
        self._healthy = [pair for pair in map(tuple, state["healthy"]) if all(map(math.isfinite, pair))]
        self._masked = state["masked"]


def robust(values: Sequence[float]) -> tuple[float, float]:
    """The median, and the standard deviation that the median deviation from it stands for."""
    centre = median(values)
    return centre, _MAD * median(abs(value - centre) for value in values)
