"""A run from a checkpoint whose rate is too large for its weights: they are taken up again, at a smaller one."""

from __future__ import annotations

from robaudit.training.state import TrainingState
from robaudit.training.validation import Look

#: Epochs in a row at chance, which are not an accident; what the rate is then multiplied by, and how often at most.
EPOCHS_IN_A_ROW, RATE_FACTOR, MOST_RETREATS = 2, 0.3, 5


class Retreat:
    """Watches whether a run has lost what its start knew.

    Args:
        training: with the start's weights still.

    Attributes:
        wanted: whether the start has anything to lose.

    """

    def __init__(self, training: TrainingState) -> None:
        self._training, self._start = training, training.taken()
        self._chance, self.wanted = 0, True

    def after(self, look: Look) -> str:
        """After an epoch: what was done about it, empty where nothing had to be."""
        self._chance = self._chance + 1 if look.at_chance else 0
        if (
            not self.wanted
            or self._chance < EPOCHS_IN_A_ROW
            or self._training.slower <= RATE_FACTOR**MOST_RETREATS
        ):
            return ""
        self._chance = 0
        self._training.put(self._start)
        self._training.slower *= RATE_FACTOR
        return (
            f"{EPOCHS_IN_A_ROW} epochs at chance, which the start was not: continues from the start's weights "
            f"at {self._training.slower:.2g} times the rate"
        )

    def state(self) -> dict[str, int]:
        """What `load` takes."""
        return {"chance": self._chance, "wanted": int(self.wanted)}

    def load(self, state: dict[str, int]) -> None:
        """What `state` gave."""
        self._chance, self.wanted = state["chance"], bool(state["wanted"])
