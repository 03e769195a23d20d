"""AutoAttack's robust accuracy to a stated precision: short attacks on all examples, whole ones on some of the rest.

1. Short attacks, each the beginning of one of AutoAttack's, on every example: APGD-CE on what PGD-10 broke, Square's
   first queries, APGD-T's first steps at the likeliest class; then APGD-T's first targets on the candidates closest to
   being broken. What they break is known for good. How many targets is chosen by what they cost and what they save.
2. Whole attacks, on the candidates that are left, in the audit's random order, until the interval is narrow enough.

What an earlier part of the audit attacked to the end counts as drawn, if it is among the candidates: whether it is one
says nothing of the order, so the draws are a random sample whatever was chosen on the way (docs/statistics.md).
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from robaudit.audit.session import Session
from robaudit.evidence import SCOUT_NEAR, SCOUT_TARGETED, Evidence, Outcome, OutcomeRow
from robaudit.verdict import Claim, judge
from robaudit.verdict.sampling import (
    FIRST_QUERIES,
    FIRST_STEPS,
    NEAR,
    NEAR_SHARE,
    NEAR_STEPS,
    NEAR_TARGETS,
    SCOUTED,
    candidates,
    drawn,
    estimate,
    nearest,
    passed,
)

#: Of the candidates after APGD-T's first steps, the part that is thought to break.
EXPECTED = 0.06
#: Of the breaks that one number of targets finds, the part that is thought to be left to find among the candidates.
STILL_LEFT = 0.3
#: Examples that are attacked to the end before the interval is looked at again, at least and at most.
LEAST_DRAWS, MOST_DRAWS = 16, 64
#: What a whole AutoAttack costs on a survivor, in runs at one of APGD-T's targets.
WHOLE_IN_TARGETS = 45


class Sampling:
    """One audit's way to the precision that its plan asks for.

    Args:
        session: what an earlier part of the audit has found so far is in its file.
        claim: about AutoAttack's number, if there is one.

    """

    def __init__(self, session: Session, claim: Claim | None) -> None:
        assert session.plan.within is not None
        self.session, self.claim, self.within = session, claim, session.plan.within
        self.everything = torch.arange(len(session.images))

    def run(self) -> None:
        """As far as it takes."""
        session = self.session
        if session.prepared < len(self.everything):  # by this process, whatever the file holds
            session.prepare(self.everything[session.prepared :])
        if not session.sync().header.early_stopping.get(SCOUTED):
            self._short_attacks()
        while not self._narrow(evidence := self.session.sync()):
            if not self._draw(evidence):
                return

    def _narrow(self, evidence: Evidence) -> bool:
        found = estimate(evidence)
        if found is None:
            return False
        verdict = judge(evidence, self.claim)
        if verdict.minimum is not None and verdict.minimum.outcome != "inconclusive":
            return True  # what a policy asks for needs no more
        return verdict.answered and found.high - found.low <= 2 * self.within + 1e-9

    def _short_attacks(self) -> None:
        session, everything = self.session, self.everything
        session.attack("pgd10", session.pending("pgd10", everything))
        evidence = session.sync()
        lost = evidence.broken("pgd10")
        session.attack(
            "apgd-ce", session.pending("apgd-ce", self._places(lost & evidence.open("autoattack")))
        )
        standing = evidence.survives("pgd10") & evidence.open("autoattack")
        session.scout(self._places(standing), FIRST_QUERIES)
        self._first_steps(lost)
        self._near_targets()

    def _first_steps(self, lost: np.ndarray) -> None:
        """APGD-T's first steps on all that the other short attacks left."""
        evidence = self.session.sync()
        over = (lost & evidence.broken("apgd-ce")) | evidence.broken_after("square", FIRST_QUERIES)
        self._scout(evidence.correct & ~over, SCOUT_TARGETED, 1, FIRST_STEPS)

    def _near_targets(self) -> None:
        """More of APGD-T's targets on the candidates that are closest to being broken, as long as that pays."""
        state = dict(self.session.ranks.agree(self.session.file.header().early_stopping))
        left = int(passed(self.session.sync(), SCOUT_TARGETED).sum())
        near = math.ceil(NEAR_SHARE * left)
        still, expected = near, EXPECTED * left
        for targets in NEAR_TARGETS:
            saved = self._draws_wanted(left, expected) - self._draws_wanted(left, STILL_LEFT * expected)
            if saved * WHOLE_IN_TARGETS < still * targets:
                break
            steps = self._scout(nearest(self.session.sync(), near), SCOUT_NEAR, targets, None)
            evidence = self.session.sync()
            found = still - int((nearest(evidence, near) & passed(evidence, SCOUT_NEAR, steps)).sum())
            state |= {NEAR: near, NEAR_STEPS: steps}
            expected, still = STILL_LEFT * found, still - found
        if not self.session.ranks.rank:
            self.session.file.update(early_stopping=state | {SCOUTED: 1})

    def _draws_wanted(self, left: int, breaks: float) -> float:
        """About how many draws make the interval narrow enough, if this many of the candidates would break."""
        total = len(self.everything)
        share = min(breaks / max(left, 1), 0.5)
        apart = min(2 * self.within * total / max(left, 1), 0.99 - share)
        worse = share + apart
        grown = (1 - share) * math.log((1 - share) / (1 - worse)) + (
            share * math.log(share / worse) if share else 0
        )
        return min(left, math.log(2 / (1 - self.session.plan.confidence)) / max(grown, 1e-9))

    def _scout(self, wanted: np.ndarray, scout: str, targets: int, steps: int | None) -> int:
        """APGD-T's beginning on those of `wanted` that have not got so far; how many steps it is."""
        evidence = self.session.sync()
        budget = self.session.plan.budget
        most = (steps or budget.apgd_steps) + 1
        others = self.session.logits.shape[1] - 1  # there are no more targets than other classes
        limit = most if steps else most * min(targets, budget.targets, others)
        whole = evidence.attacks.get("apgd-t")
        known = np.zeros(len(evidence), dtype=bool)
        if whole is not None:
            known = whole.outcome != Outcome.NOT_RUN
            held = known & ~evidence.broken_after("apgd-t", limit) & wanted
            self._note(evidence, held & ~passed(evidence, scout, limit), scout, limit)
        before = evidence.attacks.get(scout)
        if before is not None:
            known |= (before.outcome != Outcome.NOT_RUN) & (before.steps >= limit)
        self.session.scout_targets(self._places(wanted & ~known), scout, targets, steps)
        return limit

    def _note(self, evidence: Evidence, rows: np.ndarray, scout: str, steps: int) -> None:
        """What the whole attack has said already of its own beginning."""
        ids = evidence.ids[rows].tolist()
        if not self.session.ranks.rank:
            self.session.file.add_outcomes(OutcomeRow(scout, key, Outcome.ROBUST, steps, 0, 0) for key in ids)

    def _draw(self, evidence: Evidence) -> bool:
        """Attack the next candidates to the end; whether there were any."""
        among = candidates(evidence)
        assert among is not None
        places = self._places(among & evidence.open("autoattack"))
        if not len(places):
            return False
        done = int(drawn(evidence, among).sum())
        # Half of what is thought to be missing: a look costs less than an attack that was not needed.
        missing = self._draws_wanted(int(among.sum()), 0.01 * int(among.sum())) - done
        self._tell(evidence, done, missing)
        group = places[: int(np.clip(missing / 2, LEAST_DRAWS, MOST_DRAWS))]
        self.session.attack("square", self.session.pending("square", group))
        for name in ("apgd-t", "apgd-ce", "fab-t"):
            still = torch.from_numpy(self.session.sync().open("autoattack"))[group]
            self.session.attack(name, self.session.pending(name, group[still]))
        return True

    def _tell(self, evidence: Evidence, done: int, missing: float) -> None:
        """How precise the number is so far, and how much of the sample is drawn, to whoever watches."""
        look, reach = (getattr(self.session.progress, name, None) for name in ("look", "reach"))
        found = estimate(evidence)
        if look and found:
            low, high = 100 * found.low, 100 * found.high
            look(
                f"AutoAttack {low:.1f} … {high:.1f} %, wanted within {100 * self.within:g} points either way"
            )
        if reach:
            reach(done, done + max(missing, 1.0))

    def _places(self, rows: np.ndarray) -> Tensor:
        return self.everything[torch.from_numpy(rows)]
