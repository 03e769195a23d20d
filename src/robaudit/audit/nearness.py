"""How near to a break each example of an audit came: the largest margin that it met in what was run of APGD-T."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from robaudit.attacks import Retired
from robaudit.audit.beginnings import beginning_of
from robaudit.audit.session import Session
from robaudit.verdict.sampling import Bools


class Nearness:
    """Of one audit's examples, on every rank.

    Attributes:
        margins: (n,) the largest so far; -inf where none is known.
        steps: (n,) int64, those of APGD-T that were made for a margin alone, the outcome being known; each is a forward
            and a backward pass, of every draw of a randomised model.

    """

    def __init__(self, session: Session) -> None:
        self.session, total = session, len(session.images)
        self.margins: NDArray[np.float32] = np.full(total, -np.inf, np.float32)
        self.steps = np.zeros(total, np.int64)

    def scout(self, rows: Bools, scout: str) -> None:
        """Make a beginning of APGD-T, and note what it met.

        Args:
            rows: (n,) the examples.
            scout: the beginning.

        """
        self._note(*self.session.scout_targets(_places(rows), scout))

    def meet(self, rows: Bools, scout: str) -> None:
        """The margins of examples of which the outcome of this beginning is known without it.

        Else those that an earlier part of the audit attacked, which are the first in the order, would seem further
        from a break.
        """
        session, mine = self.session, self.session.ranks.share(_places(rows))
        met, taken = torch.full((len(mine),), float("-inf")), torch.zeros(len(mine), dtype=torch.int64)

        def retire(retired: Retired) -> None:
            met[retired.rows], taken[retired.rows] = retired.closest, session.plan.eot * retired.forwards

        if len(mine):
            engine = replace(session.engine(session.search, session.plan.threat), exact=None)
            attack = beginning_of(scout, session.plan).of("apgd-t", session.plan)
            engine.run(attack, session.examples(mine), retire)
        self._note(mine, met, taken)

    def order(self, rows: Bools) -> NDArray[np.int64]:
        """(k,) the places of these examples, those that came nearest to a break first."""
        order = np.argsort(-self.margins[rows], kind="stable")
        return np.asarray(np.flatnonzero(rows)[order], np.int64)

    def _note(self, mine: Tensor, met: Tensor, taken: Tensor | None = None) -> None:
        for places, margins, steps in self.session.ranks.gather((mine, met, taken)):
            here = places.numpy()
            self.margins[here] = np.maximum(self.margins[here], margins.numpy())
            if steps is not None:
                self.steps[here] += steps.numpy()


def _places(rows: Bools) -> Tensor:
    return torch.from_numpy(np.flatnonzero(rows))
