"""Whether an epoch became masked, or PGD-10 is too weak a measure for the network anyway: by the run's own past.

Masking (Li et al., Figure 2) is a change: FOSC rises and SGCS falls together, PGD-10 leaves many more examples than the
worst case of several attacks does, and an attack without gradients breaks many of them at once. Where PGD-10 leaves as
many more in the run's calm epochs, there is none: the worst case is what counts, and no treatment changes it. Where
FOSC and SGCS change alone the loss surface is rugged and PGD-10 is not deceived. A network that guesses has hardly a
gradient, whose FOSC and SGCS say nothing.
"""

from __future__ import annotations

import math
from typing import Any

from robaudit.training.validation import Look
from robaudit.training.watch import Reading, Watch

#: Shares of the examples: what the gaps must grow by to have jumped, and the gap of a measure that is weak.
JUMP_SHARE, WEAK_GAP = 0.06, 0.08
#: Epochs that are remembered, and those it takes to know what is usual.
REMEMBERED_EPOCHS, LEAST_PAST_EPOCHS = 32, 3


class Judge:
    """Judges epochs one after the other; those that are not masked become the past of the next."""

    def __init__(self) -> None:
        self._watch = Watch()
        self._gaps: list[tuple[float, float]] = []
        self._masked = False

    def observe(self, look: Look) -> Reading:
        """Judge one epoch; one at chance is nothing, and nobody's past."""
        if look.at_chance:
            return Reading()
        gaps = (look.gap, look.standing.black_box_gap)
        fosc, sgcs = look.measured.fosc_normalised, look.measured.sgcs
        misled = self._watch.judge(fosc, sgcs)
        suspect = misled or self._watch.suspect(fosc, sgcs)
        # Masking lasts as long as the gaps do, whatever FOSC and SGCS become.
        reason = self._jumped(gaps) if suspect or self._masked else ""
        weak = gaps[0] >= WEAK_GAP
        rugged = misled if len(self._gaps) >= LEAST_PAST_EPOCHS and not weak else ""
        recovered, self._masked = self._masked and not reason, bool(reason)
        if reason:
            return Reading(masked=True, reason=f"{suspect}; {reason}" if suspect else reason)
        if math.isfinite(fosc) and math.isfinite(sgcs):
            self._watch.remember(fosc, sgcs)
        self._gaps = [*self._gaps, gaps][-REMEMBERED_EPOCHS:]
        return Reading(reason=rugged, recovered=recovered, rugged=bool(rugged), weak=weak)

    def _jumped(self, gaps: tuple[float, float]) -> str:
        """How both gaps have left the past; empty where they have not, or there is none."""
        if len(self._gaps) < LEAST_PAST_EPOCHS:
            return ""
        usual = [max(values) for values in zip(*self._gaps, strict=True)]
        if any(now - before < JUMP_SHARE for now, before in zip(gaps, usual, strict=True)):
            return ""
        template = "PGD-10 leaves {:.1f} points more than the worst case and Square breaks {:.1f} of them"
        now, before = (template.format(*(100 * value for value in values)) for values in (gaps, usual))
        return f"{now}, where it was at most {before.removeprefix('PGD-10 leaves ')}"

    def state(self) -> dict[str, Any]:
        """As JSON-ready data."""
        return {
            "watch": self._watch.state(),
            "gaps": [list(item) for item in self._gaps],
            "masked": self._masked,
        }

    def load(self, state: dict[str, Any]) -> None:
        """What `state` gave."""
        self._watch.load(state["watch"])
        self._gaps = [(gap, square) for gap, square in state["gaps"]]
        self._masked = state["masked"]
