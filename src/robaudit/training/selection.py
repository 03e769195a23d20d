"""Which epoch is kept as the best: that with the most held-out examples robust, or by PGD-10 as in the paper."""

from __future__ import annotations

from statistics import median
from typing import Any

import numpy as np
import torch
from torch import Tensor

from robaudit.training.settings import Select
from robaudit.training.validation import Look
from robaudit.training.worst_case import HARD, Standing

#: Epochs before the present one by which a run is called hard to measure.
HARD_EPOCHS = 4
#: A network is behind another where this many standard errors of the difference on the same examples say so.
BEHIND_ERRORS = 1.5
#: Samples of the bootstrap.
DRAWS = 1000
_PLAIN = ("epoch", "pgd10", "lost", "least_clean", "gaps")


def behind(one: Standing, other: Standing) -> bool:
    """Whether the first network leaves fewer of the examples robust that both know, by more than chance."""
    plus, minus = one.lead(other)
    return bool(plus - minus < -BEHIND_ERRORS * (plus + minus) ** 0.5)


def optimism(outcomes: list[Tensor], seed: int) -> float:
    """How much the best of several means over the same examples is too high on average, for being the best of them.

    The bootstrap's estimate (Efron & Gong, "A leisurely look at the bootstrap", The American Statistician 37, 1983,
    Section 7): examples are drawn anew with replacement; the best mean of the draw, minus the mean of the same network
    on the examples as they are. A little low where all networks are worth the same.

    Args:
        outcomes: (n,) bool of each network.
        seed: of the draws.

    """
    if len(outcomes) < 2:
        return 0.0
    table = torch.stack(outcomes).double().numpy()
    count = table.shape[1]
    draws = np.random.Generator(np.random.Philox(seed))
    weights = draws.multinomial(count, np.full(count, 1 / count), size=DRAWS)
    drawn, means = weights @ table.T / count, table.mean(1)
    return max(0.0, float((drawn.max(1) - means[drawn.argmax(1)]).mean()))


class Selection:
    """The best epoch so far.

    Attributes:
        epoch: its number from 1; 0 where none was fit to be the best.
        standing: what is robust of all examples under its weights.
        pgd10: its accuracy under PGD-10.
        lost: whether it does no better than guessing, or than half of what the run began with: then any that does is
            better.
        least_clean: half of the clean accuracy that the run began with; 0 where that was fresh weights.
        rivals: what is robust in each epoch that might have been kept, itself included.
        gaps: the last epochs' `first_gap`.
        untreated: what was robust without treatment in the epoch that the present one was chosen in.

    """

    def __init__(self, select: Select) -> None:
        self._select = select
        self.epoch, self.pgd10, self.lost, self.least_clean = 0, -1.0, False, 0.0
        self.rivals: list[Standing] = []
        self.gaps: list[float] = []
        self.standing: Standing | None = None
        self.untreated: Standing | None = None

    def goes_on(self, pgd10: float, after_pgd: Tensor, found: Standing) -> bool:
        """Whether more examples are worth the passes: the network may be the best.

        Args:
            pgd10: its accuracy.
            after_pgd: (n,) bool, the examples that PGD-10 leaves.
            found: what is known of the first of them.

        """
        if self._select == "pgd10":
            return pgd10 > self.pgd10
        if self.standing is None or self.lost:
            return True
        most = int(found.robust.sum()) + int(after_pgd[len(found.robust) : found.total].sum())
        return most > int(self.standing.robust.sum()) and not behind(found, self.standing)

    def hard(self, gap: float) -> bool:
        """Whether the few passes are too few for this run: `gap` is large in most of its last epochs, this included."""
        return median([*self.gaps, gap]) >= HARD

    def observe(self, look: Look) -> None:
        """An epoch is over."""
        self.gaps = [*self.gaps, look.standing.first_gap][-HARD_EPOCHS:]

    def is_best(self, look: Look) -> bool:
        """Whether the network is better than the best; of equals the first is kept."""
        if self._select == "pgd10":
            return look.measured.pgd10 > self.pgd10
        if self.standing is None:
            return True
        if self._lost(look) != self.lost:
            return look.standing.whole and self.lost
        plus, minus = look.standing.lead(self.standing)
        return look.standing.whole and plus > minus

    def take(self, look: Look, epoch: int) -> None:
        """The network of this epoch is the best."""
        if self.lost and not self._lost(look):
            self.rivals = []
        self.epoch, self.standing, self.pgd10 = epoch, look.standing, look.measured.pgd10
        self.lost = self._lost(look)

    def begin_with(self, look: Look) -> None:
        """What the run starts from is the best so far, as epoch 0."""
        self.take(look, 0)
        self.least_clean = look.measured.clean / 2

    def _lost(self, look: Look) -> bool:
        return look.at_chance or look.measured.clean < self.least_clean

    def meet(self, look: Look) -> None:
        """A network that might be the best, after it was taken where it is."""
        if look.standing.whole and self._lost(look) == self.lost:
            self.rivals.append(look.standing)

    def luck(self, seed: int) -> float:
        """What the best's robust accuracy is too high by for having been chosen by it; 0 where PGD-10 chose."""
        best = self.standing
        if self._select == "pgd10" or best is None:
            return 0.0
        return optimism([item.robust for item in self.rivals if item.long == best.long], seed)

    def below_untreated(self, look: Look) -> bool:
        """Whether it is worse than what was robust without the present treatment."""
        return self.untreated is not None and behind(look.standing, self.untreated)

    def state(self) -> dict[str, Any]:
        """Numbers and tensors."""
        standing = {name: item and item.state() for name, item in self._standings().items()}
        rivals = [item.state() for item in self.rivals]
        plain = {name: getattr(self, name) for name in _PLAIN}
        return {**plain, "rivals": rivals, **standing}

    def load(self, state: dict[str, Any]) -> None:
        """What `state` gave."""
        for name in _PLAIN:
            setattr(self, name, state[name])
        self.rivals = [Standing(**item) for item in state["rivals"]]
        for name in self._standings():
            setattr(self, name, Standing(**state[name]) if state[name] else None)

    def _standings(self) -> dict[str, Standing | None]:
        return {"standing": self.standing, "untreated": self.untreated}
