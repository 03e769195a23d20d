"""The short attacks of an audit to a stated precision: they break, for few passes, nearly all that AutoAttack breaks.

Each is the beginning of one of AutoAttack's attacks:

1. on every example, as far as each is thought to be worth its price: APGD-CE on what PGD-10 broke, APGD-T's first steps
   at the likeliest class, then at more classes, Square's first queries;
2. on the examples that came nearest to a break, as long as breaks are found there: more of APGD-T's steps, some of them
   at every class, and from the nearest outward all of Square's queries.

How near an example came is the largest margin that APGD-T's first steps met. It says well which of them break later
(docs/results/within.md); where it does not, more has to be drawn, and that is all. Nothing here depends on the order in
which candidates are drawn, so these are drawn at random whatever is chosen.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from robaudit.audit.nearness import Nearness
from robaudit.audit.prices import Prices
from robaudit.audit.session import Session
from robaudit.evidence import (
    NEAREST,
    SCOUT,
    SCOUT_DEEP,
    SCOUT_EVERY,
    SCOUT_QUERIES,
    SCOUT_TARGETED,
    SCOUT_WIDE,
    SCOUTS,
    Evidence,
    Outcome,
    OutcomeRow,
    begun,
    length_of,
    run_length,
)
from robaudit.verdict.sampling import CHOSEN, SCOUTED, Bools, passed

#: Of the candidates after APGD-T's first steps, the part that is thought to break; and of what is thought to break, the
#: part that its first steps at more classes are thought to leave.
EXPECTED, LEAVES = 0.035, 0.4
#: Beside the breaks that the steps at more classes found, those that are thought to be left; and of the candidates the
#: part that is thought to break at least, for these steps may find few where many are left at the likeliest class.
STILL_LEFT, STILL_EXPECTED = 0.6, 0.005
#: Candidates on which Square's first queries are tried to see what they find.
TRIED = 64
#: Of the candidates nearest to a break, so many are attacked before it is looked whether that pays; then, further out,
#: this many times as many.
FIRST, GROWS = {SCOUT_DEEP: 64, SCOUT_EVERY: 64, SCOUT_QUERIES: 8}, 1.5


class ShortAttacks:
    """On one audit's examples.

    Args:
        session: what an earlier part of the audit has found so far is in its file.

    """

    def __init__(self, session: Session) -> None:
        self.session, self.plan, self.total = session, session.plan, len(session.images)
        self.classes = int(session.logits.shape[1])
        self.prices = Prices(self.plan, self.total, self.classes)
        self.everything = torch.arange(self.total)
        self.nearness = Nearness(session)

    def run(self) -> None:
        """All that are worth it; a run that resumes another chooses as that did."""
        session, everything = self.session, self.everything
        session.attack("pgd10", session.pending("pgd10", everything))
        lost = session.sync().broken("pgd10")
        session.attack("apgd-ce", session.pending("apgd-ce", self._places(lost)))
        evidence = session.sync()
        first = evidence.correct & ~(lost & evidence.broken("apgd-ce"))
        self._scout(first, SCOUT_TARGETED)
        left = passed(session.sync(), SCOUT_TARGETED)
        breaks = EXPECTED * float(left.sum())
        if self._choose(SCOUT_WIDE, left, breaks, LEAVES * breaks):
            self._scout(left, SCOUT_WIDE)
            found = left & ~passed(session.sync(), SCOUT_WIDE)
            left = left & ~found
            breaks = max(STILL_LEFT * float(found.sum()), STILL_EXPECTED * float(left.sum()))
        if self._choose(SCOUT, left, breaks + self._found_on_some(left), breaks):
            self._scout(left, SCOUT)
            left = left & ~session.sync().broken_early(SCOUT)
        for scout in NEAREST:
            left = self._outward(scout, left, breaks)
        self._keep(**{SCOUTED: 1})

    def _chosen(self, scout: str) -> int | None:
        """What a run that this one resumes has chosen."""
        return self.session.ranks.agree(self.session.file.header().early_stopping).get(CHOSEN[scout])

    def _choose(self, scout: str, left: Bools, before: float, after: float) -> bool:
        """Whether what an earlier run has chosen, else what is thought to save more passes than it takes, is made.

        Args:
            scout: the beginning of an attack.
            left: (n,) the candidates.
            before: of the candidates, how many are thought to break without it.
            after: with it.

        """
        if (chosen := self._chosen(scout)) is not None:
            return bool(chosen)
        cost = int(left.sum()) * self.prices.cost(scout)
        return self._keep(**{CHOSEN[scout]: int(self.prices.saved(int(left.sum()), before, after) > cost)})

    def _found_on_some(self, left: Bools) -> float:
        """Of the candidates, how many Square's first queries would break, by some that they are tried on.

        Which ones says nothing of the order in which candidates are drawn, nor does then what is chosen by them: were
        it the first ones, the sample would be of those whose outcomes had led to the choice.
        """
        if self._chosen(SCOUT) is not None or not left.any():
            return 0.0
        ids = np.sort(self.session.sync().ids[left])
        draw = np.random.default_rng([self.plan.seed, len(ids)])
        tried = np.isin(self.session.sync().ids, draw.permutation(ids)[:TRIED])
        self._scout(tried, SCOUT)
        found = self.session.sync().broken_early(SCOUT) & tried
        return float(found.sum() / tried.sum() * left.sum())

    def _outward(self, scout: str, left: Bools, breaks: float) -> Bools:
        """Make a beginning on the candidates that came nearest to a break, and outward as long as that pays.

        Args:
            scout: the beginning of an attack.
            left: (n,) the candidates.
            breaks: of these, how many are thought to break later.

        Returns:
            (n,) the candidates that it leaves.

        """
        chosen = self._chosen(scout)
        if chosen:  # a run of an earlier version may have been killed there
            self._scout(left & ~passed(self.session.sync(), scout), scout)
        elif chosen is None:
            count, cost = int(left.sum()), self.prices.cost(scout)
            if self._is_made(scout) or self.prices.saved(count, breaks, 0) <= FIRST[scout] * cost:
                self._keep(**{CHOSEN[scout]: 0})
                return left
            near = np.zeros_like(left)
            for group in _growing(self._nearest_first(left), FIRST[scout]):
                rows = self._rows(group)
                near |= rows
                self._scout(rows, scout)
                broken = self.session.sync().broken_early(scout) & rows
                # The next group is longer, and thought to show as many breaks as this one.
                if int(broken.sum()) * self.prices.worth(count) < GROWS * len(group) * cost:
                    break
            self._note(left & ~near & ~passed(self.session.sync(), scout), scout, 0)
            self._keep(**{CHOSEN[scout]: 1})
        return left & passed(self.session.sync(), scout) if chosen != 0 else left

    def _nearest_first(self, left: Bools) -> NDArray[np.int64]:
        """(k,) the places of the candidates, those that came nearest to a break first."""
        self.nearness.meet(left, SCOUT_TARGETED)
        if self._chosen(SCOUT_WIDE):
            self.nearness.meet(left, SCOUT_WIDE)
        evidence = self.session.sync()
        for scout in NEAREST:
            if SCOUTS[scout] == "apgd-t" and self._chosen(scout):
                self.nearness.meet(left & (evidence.attacks[scout].steps > 0), scout)
        return self.nearness.order(left)

    def _is_made(self, scout: str) -> bool:
        """Whether this beginning goes no further than those before it, for a small budget or few classes."""
        targets, steps = begun(scout, self.plan) if SCOUTS[scout] == "apgd-t" else (0, 0)
        if scout == SCOUT_EVERY:
            return min(targets, self.classes - 1) == 1
        return scout == SCOUT_DEEP and steps <= begun(SCOUT_TARGETED, self.plan)[1]

    def _keep(self, **values: int) -> bool:
        """Write down what has been chosen, for a run that resumes this one; whether any of it is to be made."""
        if self.session.ranks.first:
            state = self.session.file.header().early_stopping
            self.session.file.update(early_stopping=state | values)
        return any(values.values())

    def _scout(self, wanted: Bools, scout: str) -> None:
        """The beginning of an attack on those of `wanted` of which it is not known how it ends."""
        if scout == SCOUT:
            self.session.scout(self._places(wanted))
            return
        if scout == SCOUT_QUERIES:
            self.session.attack("square", self.session.pending("square", self._places(wanted)))
        evidence = self.session.sync()
        known, noted = self._known(evidence, scout), passed(evidence, scout)
        survived = wanted & known & ~evidence.broken_early(scout) & ~noted
        self._note(survived, scout, length_of(scout, self.plan, self.classes))
        fresh = wanted & ~known & ~noted
        if fresh.any() and scout != SCOUT_QUERIES:
            self.nearness.scout(fresh, scout)

    def _known(self, evidence: Evidence, scout: str) -> Bools:
        """(n,) bool: the whole attack has said how its beginning ends: it broke there, or went through all of it."""
        whole, length = evidence.attacks.get(SCOUTS[scout]), run_length(self.plan)
        if whole is None:
            return np.zeros(len(evidence), dtype=bool)
        run = np.asarray(whole.outcome != Outcome.NOT_RUN)
        if SCOUTS[scout] == "square":
            return run
        targets = min(self.plan.budget.targets, self.classes - 1)
        # Runs that came close are made again in float32, which counts as more steps than all.
        beyond = ((whole.steps - 1) // length >= begun(scout, self.plan)[0] - 1) & (
            whole.steps <= length * targets * self.plan.budget.restarts
        )
        broken = whole.outcome == Outcome.BROKEN
        return np.asarray(run & (~broken | beyond | evidence.broken_early(scout)))

    def _note(self, rows: Bools, scout: str, steps: int) -> None:
        """That these survive so many steps of a beginning, which is known without making it."""
        if self.session.ranks.first:
            ids = self.session.images.ids.numpy()[rows].tolist()
            self.session.file.add_outcomes(OutcomeRow(scout, key, Outcome.ROBUST, steps, 0, 0) for key in ids)

    def _rows(self, places: NDArray[np.int64]) -> Bools:
        rows = np.zeros(self.total, dtype=bool)
        rows[places] = True
        return rows

    def _places(self, rows: Bools) -> Tensor:
        return self.everything[torch.from_numpy(rows)]


def _growing(order: NDArray[np.int64], first: int) -> Iterator[NDArray[np.int64]]:
    """Parts of `order`, each `GROWS` times as long as the one before."""
    size = float(first)
    while len(order):
        yield order[: round(size)]
        order, size = order[round(size) :], GROWS * size
