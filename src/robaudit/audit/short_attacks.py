"""The short attacks of an audit to a stated precision: they break, for few passes, nearly all that AutoAttack breaks.

Each is the beginning of one of AutoAttack's attacks:

1. on every example, as far as each is thought to be worth its price: APGD-CE on what PGD-10 broke, APGD-T's first steps
   at the likeliest class, then at more classes, Square's first queries;
2. from the examples that came nearest to a break outward, as long as breaks are found there: more of APGD-T's steps,
   some of them at every class, and all of Square's queries; where these break some, a part of them on more examples.

How near an example came is the largest margin that it met in these. It says well which of them break later
(docs/results/within.md); where it does not, more has to be drawn, and that is all. Nothing here depends on the order in
which candidates are drawn, so these are drawn at random whatever is chosen.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray

from robaudit.audit.prices import Prices
from robaudit.audit.scouting import Scouting
from robaudit.audit.session import Session
from robaudit.evidence import (
    LEAST_NEAR,
    QUERIES,
    SCOUT,
    SCOUT_DEEP,
    SCOUT_EVERY,
    SCOUT_MORE,
    SCOUT_QUERIES,
    SCOUT_TARGETED,
    SCOUT_WIDE,
    SCOUTED,
    SCOUTS,
    begun,
)
from robaudit.verdict.sampling import CHOSEN, Bools, passed, queried

#: Of the candidates after APGD-T's first steps, the part that is thought to break; and of what is thought to break, the
#: part that its first steps at more classes are thought to leave.
EXPECTED, LEAVES = 0.035, 0.4
#: Beside the breaks that the steps at more classes found, those that are thought to be left; and of the candidates the
#: part that is thought to break at least, for these steps may find few where many are left at the likeliest class.
STILL_LEFT, STILL_EXPECTED = 0.6, 0.005
#: Candidates on which Square's first queries are tried to see what they find.
TRIED = 64
#: After the candidates nearest to a break (`LEAST_NEAR`) this many times as many are attacked, if that pays.
GROWS = 1.5
#: So many times as many as get all of Square's queries get its first 300, which say better than APGD-T alone whom it
#: breaks in the end (`benchmarks/predictions.py --square`).
TIMES_AS_MANY = 4


class ShortAttacks:
    """On one audit's examples.

    Args:
        session: what an earlier part of the audit has found so far is in its file.

    """

    def __init__(self, session: Session) -> None:
        self.session, self.plan, self.total = session, session.plan, len(session.images)
        self.classes = int(session.logits.shape[1])
        self.prices = Prices(self.plan, self.total, self.classes)
        self.scouting = Scouting(session)

    def run(self) -> None:
        """All that are worth it; a run that resumes another chooses as that did."""
        session, everything = self.session, torch.arange(self.total)
        session.attack("pgd10", session.pending("pgd10", everything))
        lost = session.sync().broken("pgd10")
        session.attack("apgd-ce", session.pending("apgd-ce", self.scouting.places(lost)))
        evidence = session.sync()
        first = evidence.correct & ~(lost & evidence.broken("apgd-ce"))
        self.scouting.make(first, SCOUT_TARGETED)
        left = passed(session.sync(), SCOUT_TARGETED)
        breaks = EXPECTED * float(left.sum())
        if self._choose(SCOUT_WIDE, left, breaks, LEAVES * breaks):
            self.scouting.make(left, SCOUT_WIDE)
            found = left & ~passed(session.sync(), SCOUT_WIDE)
            left = left & ~found
            breaks = max(STILL_LEFT * float(found.sum()), STILL_EXPECTED * float(left.sum()))
        if self._choose(SCOUT, left, breaks + self._found_on_some(left), breaks):
            self.scouting.make(left, SCOUT)
            left = left & ~queried(session.sync())
        for scout in (SCOUT_DEEP, SCOUT_EVERY):
            left = self._outward(scout, left, breaks)
        self._search(left, breaks)
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
        pays = self.prices.saved(int(left.sum()), before, after) > cost and not self._is_made(scout)
        return self._keep(**{CHOSEN[scout]: int(pays)})

    def _found_on_some(self, left: Bools) -> float:
        """Of the candidates, how many Square's first queries would break, by some that they are tried on.

        Which ones says nothing of the order in which candidates are drawn, nor does then what is chosen by them: were
        it the first ones, the sample would be of those whose outcomes had led to the choice.
        """
        if self._chosen(SCOUT) is not None or self._is_made(SCOUT) or not left.any():
            return 0.0
        ids = np.sort(self.session.sync().ids[left])
        draw = np.random.default_rng([self.plan.seed, len(ids)])
        tried = np.isin(self.session.sync().ids, draw.permutation(ids)[:TRIED])
        self.scouting.make(tried, SCOUT)
        found = queried(self.session.sync()) & tried
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
            self.scouting.make(left & ~passed(self.session.sync(), scout), scout)
        elif chosen is None:
            chosen = int(self._pays_at_all(scout, left, breaks))
            if chosen:
                near, _ = self._while_it_pays(scout, left)
                self.scouting.pass_over(left & ~near, scout)
            self._keep(**{CHOSEN[scout]: chosen})
        return left & passed(self.session.sync(), scout) if chosen else left

    def _search(self, left: Bools, breaks: float) -> None:
        """All of Square's queries, from the nearest outward; where they break some, a part of them on more.

        The margins that the part meets say who of these is near, and all queries are made from the nearest outward
        once more; and so on, as long as that breaks some.

        Args:
            left: (n,) the candidates.
            breaks: of these, how many are thought to break later.

        """
        if self._chosen(SCOUT_QUERIES) is not None:
            return
        whole, part = np.zeros_like(left), np.zeros_like(left)
        if self._pays_at_all(SCOUT_QUERIES, left, breaks):
            whole, found = self._while_it_pays(SCOUT_QUERIES, left)
            while (more := self._worth_a_part(left, whole, part, found)).any():
                part |= more
                self.scouting.make(whole | part, SCOUT_MORE)
                unbroken = passed(self.session.sync(), SCOUT_MORE)
                found, left = int((more & ~unbroken).sum()), left & (unbroken | ~(whole | part))
                self.scouting.nearness.meet(left & part, SCOUT_MORE)
                further, broken = self._while_it_pays(SCOUT_QUERIES, left & ~whole)
                whole, found = whole | further, found + broken
        if part.any():
            self.scouting.make(whole | part, SCOUT_MORE)
            self.scouting.pass_over(left & ~whole & ~part, SCOUT_MORE)
        if whole.any():
            self.scouting.pass_over(left & ~whole, SCOUT_QUERIES)
        self._keep(**{CHOSEN[SCOUT_MORE]: int(part.any()), CHOSEN[SCOUT_QUERIES]: int(whole.any())})

    def _worth_a_part(self, left: Bools, whole: Bools, part: Bools, found: int) -> Bools:
        """(n,) the candidates, the nearest first, that get a part of Square's queries; none where that does not pay.

        Args:
            left: (n,) the candidates.
            whole: (n,) those that got all queries, broken ones too.
            part: (n,) those that got a part.
            found: how many broke since there was last a part.

        """
        order = self._nearest_first(left & ~whole & ~part)
        more = order[: max(TIMES_AS_MANY * int(whole.sum()) - int(part.sum()), 0)]
        saves = self.prices.saved(int(left.sum()), STILL_LEFT * found, 0)
        pays = saves > len(more) * self.prices.cost(SCOUT_MORE) and not self._is_made(SCOUT_MORE)
        return self._rows(more if pays else more[:0])

    def _pays_at_all(self, scout: str, left: Bools, breaks: float) -> bool:
        """Whether making a beginning on the fewest costs less than is saved if all breaks were found."""
        least = LEAST_NEAR[scout] * self.prices.cost(scout)
        return not self._is_made(scout) and self.prices.saved(int(left.sum()), breaks, 0) > least

    def _while_it_pays(self, scout: str, left: Bools) -> tuple[Bools, int]:
        """Make a beginning on more and more of the candidates, the nearest first.

        Returns:
            (n,) those that it was made on, and how many of them it broke.

        """
        count, cost = int(left.sum()), self.prices.cost(scout)
        near, found = np.zeros_like(left), 0
        for group in _growing(self._nearest_first(left), LEAST_NEAR[scout]):
            rows = self._rows(group)
            near |= rows
            self.scouting.make(rows, scout)
            broken = int((self.session.sync().broken_early(scout) & rows).sum())
            found += broken
            # The next group is longer, and thought to show as many breaks as this one.
            if broken * self.prices.worth(count) < GROWS * len(group) * cost:
                break
        return near, found

    def _nearest_first(self, left: Bools) -> NDArray[np.int64]:
        """(k,) the places of the candidates, those that came nearest to a break first."""
        self.scouting.nearness.meet(left, SCOUT_TARGETED)
        if self._chosen(SCOUT_WIDE):
            self.scouting.nearness.meet(left, SCOUT_WIDE)
        evidence = self.session.sync()
        for scout in (SCOUT_DEEP, SCOUT_EVERY):
            if self._chosen(scout):
                self.scouting.nearness.meet(left & (evidence.attacks[scout].steps > 0), scout)
        return self.scouting.nearness.order(left)

    def _is_made(self, scout: str) -> bool:
        """Whether this beginning goes no further than those before it, for a small budget or few classes."""
        if SCOUTS[scout] == "square":
            most = self.plan.budget_of("square").square_queries
            return scout in QUERIES and most <= QUERIES[scout]
        targets, steps = begun(scout, self.plan)
        if scout == SCOUT_DEEP:
            return steps <= begun(SCOUT_TARGETED, self.plan)[1]
        known = scout == SCOUT_EVERY and self._chosen(SCOUT_WIDE) and begun(SCOUT_WIDE, self.plan)
        return min(targets, self.classes - 1) == 1 or known == (targets, steps)

    def _keep(self, **values: int) -> bool:
        """Write down what has been chosen, for a run that resumes this one; whether any of it is to be made."""
        if self.session.ranks.first:
            state = self.session.file.header().early_stopping
            self.session.file.update(early_stopping=state | values)
        return any(values.values())

    def _rows(self, places: NDArray[np.int64]) -> Bools:
        rows = np.zeros(self.total, dtype=bool)
        rows[places] = True
        return rows


def _growing(order: NDArray[np.int64], first: int) -> Iterator[NDArray[np.int64]]:
    """Parts of `order`, each `GROWS` times as long as the one before."""
    size = float(first)
    while len(order):
        yield order[: round(size)]
        order, size = order[round(size) :], GROWS * size
