"""How near to a break each example of an audit came: the largest margin that it met in short attacks."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from robaudit.attacks import Retired
from robaudit.audit.beginnings import beginning_of
from robaudit.audit.session import Session
from robaudit.evidence import SCOUT_TARGETED, SCOUTS, Outcome, OutcomeRow
from robaudit.verdict.sampling import Bools

#: Keeps the order of equal margins apart from other draws of the same seed.
_TIES = 0x6E656172


class Nearness:
    """Of one audit's examples, on every rank.

    Nothing here may depend on the order of the examples, in which candidates are drawn: equal margins are ranked by a
    draw of their own, and examples are compared by margins of the same beginnings (`meet`).

    Attributes:
        margins: (n,) the largest so far; -inf where none is known.
        met: by the name of a beginning of an attack: (n,) whether its margins are among them.

    """

    def __init__(self, session: Session) -> None:
        self.session, total = session, len(session.images)
        self.margins: NDArray[np.float32] = np.full(total, -np.inf, np.float32)
        self.met: defaultdict[str, Bools] = defaultdict(lambda: np.zeros(total, dtype=bool))
        self._key = np.empty(total, np.int64)
        draw = np.random.default_rng([session.plan.seed, total, _TIES])
        self._key[np.argsort(session.images.ids.numpy())] = draw.permutation(total)

    def scout(self, rows: Bools, scout: str) -> None:
        """Make a beginning of an attack.

        Args:
            rows: (n,) the examples.
            scout: the beginning.

        """
        self._note(rows, scout, *self.session.begin(_places(rows), scout))

    def meet(self, rows: Bools, scout: str) -> None:
        """The margins of a beginning whose outcome is known without it, where they are not known yet.

        Those that an earlier part of the audit attacked, which are the first in the order, are ranked like the others
        by this; so are those that a run which this one resumes has scouted.
        """
        rows = rows & ~self.met[scout]
        if not rows.any():
            return
        session, name, mine = self.session, SCOUTS[scout], self.session.ranks.share(_places(rows))
        met, passes = torch.full((len(mine),), float("-inf")), torch.zeros(len(mine), 2, dtype=torch.int64)

        def retire(retired: Retired) -> None:
            met[retired.rows] = retired.closest
            passes[retired.rows] = session.plan.eot * torch.stack([retired.forwards, retired.backwards], 1)
            session.progress.advance(name, len(retired.rows), 0, int(passes[retired.rows].sum()))

        session.progress.begin(name, len(mine))
        if len(mine):
            attack = beginning_of(scout, session.plan).of(name, session.plan)
            engine = session.engine(session.search, session.plan.threat)
            engine.run(attack, session.examples(mine), retire)
        session.progress.end(name)
        self._note(rows, scout, mine, met)
        self._count(mine, passes)

    def order(self, rows: Bools) -> NDArray[np.int64]:
        """(k,) the places of these examples, those that came nearest to a break first."""
        order = np.lexsort((self._key[rows], -self.margins[rows]))
        return np.asarray(np.flatnonzero(rows)[order], np.int64)

    def _note(self, rows: Bools, scout: str, mine: Tensor, met: Tensor) -> None:
        for places, margins in self.session.ranks.gather((mine, met)):
            here = places.numpy()
            self.margins[here] = np.maximum(self.margins[here], margins.numpy())
        self.met[scout] |= rows

    def _count(self, mine: Tensor, passes: Tensor) -> None:
        """Add passes to what the first of the beginnings took, which all have that are ranked."""
        evidence = self.session.sync()
        first, rows = evidence.attacks[SCOUT_TARGETED], []
        for places, taken in self.session.ranks.gather((mine, passes)):
            for place, (forwards, backwards) in zip(places.tolist(), taken.tolist(), strict=True):
                row = OutcomeRow(
                    SCOUT_TARGETED,
                    int(evidence.ids[place]),
                    Outcome(int(first.outcome[place])),
                    int(first.steps[place]),
                    int(first.forwards[place]) + forwards,
                    int(first.backwards[place]) + backwards,
                )
                rows.append(row)
        if self.session.ranks.first:
            self.session.file.add_outcomes(rows)


def _places(rows: Bools) -> Tensor:
    return torch.from_numpy(np.flatnonzero(rows))
