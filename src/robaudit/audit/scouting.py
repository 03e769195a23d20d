"""Making the beginning of an attack, on examples of which it is not known yet how that ends."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from robaudit.audit.nearness import Nearness
from robaudit.audit.session import Session
from robaudit.evidence import (
    SCOUT,
    SCOUT_QUERIES,
    SCOUTS,
    Evidence,
    Outcome,
    OutcomeRow,
    begun,
    length_of,
    run_length,
)
from robaudit.verdict.sampling import Bools, passed


class Scouting:
    """On one audit's examples.

    Attributes:
        nearness: how near to a break each example came in what was made.

    """

    def __init__(self, session: Session) -> None:
        self.session, self.plan, self.nearness = session, session.plan, Nearness(session)
        self._classes, self._everything = int(session.logits.shape[1]), torch.arange(len(session.images))

    def places(self, rows: Bools) -> Tensor:
        """(k,) the places of the examples at `rows` (n,)."""
        return self._everything[torch.from_numpy(rows)]

    def make(self, wanted: Bools, scout: str) -> None:
        """The beginning of an attack on those of `wanted` of which it is not known how it ends."""
        if scout == SCOUT:
            self.session.scout(self.places(wanted))
            return
        if scout == SCOUT_QUERIES:
            self.session.attack("square", self.session.pending("square", self.places(wanted)))
        evidence = self.session.sync()
        known, noted = self._known(evidence, scout), passed(evidence, scout)
        survived = wanted & known & ~evidence.broken_early(scout) & ~noted
        self._note(survived, scout, length_of(scout, self.plan, self._classes))
        fresh = wanted & ~known & ~noted
        if fresh.any() and scout != SCOUT_QUERIES:
            self.nearness.scout(fresh, scout)

    def pass_over(self, rows: Bools, scout: str) -> None:
        """That others were nearer to a break, which got this beginning."""
        self._note(rows & ~passed(self.session.sync(), scout), scout, 0)

    def _known(self, evidence: Evidence, scout: str) -> Bools:
        """(n,) bool: the whole attack has said how its beginning ends: it broke there, or went through all of it."""
        whole, length = evidence.attacks.get(SCOUTS[scout]), run_length(self.plan)
        budget = self.plan.budget_of("apgd-t")
        if whole is None:
            return np.zeros(len(evidence), dtype=bool)
        run = np.asarray(whole.outcome != Outcome.NOT_RUN)
        if SCOUTS[scout] == "square":
            return run
        targets = max(min(budget.targets, self._classes - 1), 1)
        last = min(begun(scout, self.plan)[0], targets) - 1
        # Runs that came close are made again in float32, which counts as more steps than all.
        beyond = ((whole.steps - 1) // length >= last) & (whole.steps <= length * targets * budget.restarts)
        broken = whole.outcome == Outcome.BROKEN
        return np.asarray(run & (~broken | beyond | evidence.broken_early(scout)))

    def _note(self, rows: Bools, scout: str, steps: int) -> None:
        """That these survive so many steps of a beginning, which is known without making it."""
        if self.session.ranks.first:
            ids = self.session.images.ids.numpy()[rows].tolist()
            self.session.file.add_outcomes(OutcomeRow(scout, key, Outcome.ROBUST, steps, 0, 0) for key in ids)
