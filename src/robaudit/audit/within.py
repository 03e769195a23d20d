"""AutoAttack's robust accuracy to a stated precision: short attacks on all examples, whole ones on some of the rest.

1. Short attacks, each the beginning of one of AutoAttack's, on every example: APGD-CE on what PGD-10 broke, APGD-T's
   first steps at the likeliest class; then, of what is left and as far as each is thought to be worth its price,
   APGD-T's first steps at more classes, Square's first queries, more of APGD-T's steps. What they break is known
   for good.
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
from robaudit.errors import RobauditError
from robaudit.evidence import (
    FIRST_QUERIES,
    SCOUT,
    SCOUT_DEEP,
    SCOUT_TARGETED,
    SCOUT_WIDE,
    Evidence,
    Outcome,
    OutcomeRow,
    begun,
    run_length,
)
from robaudit.verdict import Claim, judge
from robaudit.verdict.sample_claims import sample_contradictions
from robaudit.verdict.sampling import (
    CHOSEN,
    MINIMUM,
    SCOUTED,
    candidates,
    drawn,
    estimate,
    narrow,
    passed,
)

#: Of the candidates after APGD-T's first steps, the part that is thought to break.
EXPECTED = 0.035
#: Of what is thought to break, the part that each of APGD-T's further beginnings is thought to leave.
LEAVES = {SCOUT_WIDE: 0.4, SCOUT_DEEP: 0.25}
#: Beside the breaks that the steps at more classes found, those that are thought to be left; and of the candidates the
#: part that is thought to break at least, for these steps may find few where many are left at the likeliest class.
STILL_LEFT, STILL_EXPECTED = 0.6, 0.005
#: Candidates on which Square's first queries, and all steps at the likeliest class, are tried to see what they find.
TRIED = 64
#: How many times as many draws an interval takes that may be looked at whenever one likes: where none breaks, more for
#: each that does, and at most (simulated with `stats.sampled_share`: 1.1 to 1.3 times, and 1.5 to 2.5).
ANYTIME, ANYTIME_BROKEN, ANYTIME_MOST = 1.25, 30.0, 2.0
#: Examples that are attacked to the end before the interval is looked at again, at least and at most.
LEAST_DRAWS, MOST_DRAWS = 16, 64


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
        elif wrong := sample_contradictions(session.sync()):
            raise RobauditError(
                f"{session.file.path}: holds what is not true: {wrong[0]}; choose another --evidence"
            )
        for name in self._others_wanted():
            while not narrow(self.session.sync(), name):
                places = self._places(session.sync().open(name))
                if not len(places):
                    break
                session.attack(name, session.pending(name, places[:MOST_DRAWS]))
        while not self._enough(evidence := self.session.sync()):
            if not self._draw(evidence):
                return

    def _others_wanted(self) -> list[str]:
        """The attacks whose own number is wanted besides: the plan's, and that of the claim."""
        names = {self.session.plan.estimate, self.claim.attack if self.claim else None}
        return sorted(name for name in names if name not in (None, "autoattack", "pgd10"))

    def _enough(self, evidence: Evidence) -> bool:
        """Whether all is known that was asked; what a policy's minimum needs is enough for a policy."""
        if estimate(evidence) is None:
            return False
        verdict = judge(evidence, self.claim)
        if verdict.minimum is not None and verdict.minimum.outcome != "inconclusive":
            self._keep(**{MINIMUM: 1})
            return True
        return verdict.answered and narrow(evidence)

    def _short_attacks(self) -> None:
        session, everything = self.session, self.everything
        session.attack("pgd10", session.pending("pgd10", everything))
        lost = session.sync().broken("pgd10")
        session.attack("apgd-ce", session.pending("apgd-ce", self._places(lost)))
        evidence = session.sync()
        first = evidence.correct & ~(lost & evidence.broken("apgd-ce"))
        self._scout(first, SCOUT_TARGETED)
        left = passed(session.sync(), SCOUT_TARGETED)
        breaks = EXPECTED * float(left.sum())
        if self._choose(SCOUT_WIDE, left, breaks, LEAVES[SCOUT_WIDE] * breaks):
            self._scout(left, SCOUT_WIDE)
            found = left & ~passed(session.sync(), SCOUT_WIDE)
            left = left & ~found
            breaks = max(STILL_LEFT * float(found.sum()), STILL_EXPECTED * float(left.sum()))
        if self._choose(SCOUT, left, breaks + self._found_on_some(SCOUT, left), breaks):
            self._scout(left, SCOUT)
            left = left & ~session.sync().broken_early(SCOUT)
        breaks = max(breaks, self._found_on_some(SCOUT_DEEP, left))
        if self._choose(SCOUT_DEEP, left, breaks, LEAVES[SCOUT_DEEP] * breaks):
            self._scout(left, SCOUT_DEEP)
        self._keep(**{SCOUTED: 1})

    def _chosen(self, scout: str) -> int | None:
        """What a run that this one resumes has chosen."""
        return self.session.ranks.agree(self.session.file.header().early_stopping).get(CHOSEN[scout])

    def _choose(self, scout: str, left: np.ndarray, before: float, after: float) -> bool:
        """Whether what an earlier run has chosen, else what is thought to save more passes than it takes, is made.

        Args:
            scout: the beginning of an attack.
            left: (n,) bool, the candidates.
            before: of the candidates, how many are thought to break without it.
            after: with it.

        """
        if (chosen := self._chosen(scout)) is not None:
            return bool(chosen)
        plan, count = self.session.plan, int(left.sum())
        if scout == SCOUT:
            cost = FIRST_QUERIES
        else:
            targets, steps = begun(scout, plan)
            cost = 2 * steps * min(targets, self._others)
            if scout == SCOUT_DEEP and self._deep_is_made:
                return self._keep(**{CHOSEN[scout]: 0})
        rest = max(count - round(before - after), 0)
        saved = self._draws_wanted(count, before) - self._draws_wanted(rest, after)
        return self._keep(**{CHOSEN[scout]: int(saved * self._whole > count * cost)})

    def _found_on_some(self, scout: str, left: np.ndarray) -> float:
        """Of the candidates, how many this beginning would break, by some that it is tried on.

        Which ones says nothing of the order in which candidates are drawn, nor does then what is chosen by them: were
        it the first ones, the sample would be of those whose outcomes had led to the choice.
        """
        if self._chosen(scout) is not None or (scout == SCOUT_DEEP and self._deep_is_made) or not left.any():
            return 0.0
        ids = np.sort(self.session.sync().ids[left])
        draw = np.random.default_rng([self.session.plan.seed, len(ids)])
        tried = np.isin(self.session.sync().ids, draw.permutation(ids)[:TRIED])
        self._scout(tried, scout)
        found = self.session.sync().broken_early(scout) & tried
        return float(found.sum() / tried.sum() * left.sum())

    @property
    def _deep_is_made(self) -> bool:
        """Whether a small budget ends where APGD-T's first steps do."""
        plan = self.session.plan
        return begun(SCOUT_DEEP, plan)[1] <= begun(SCOUT_TARGETED, plan)[1]

    @property
    def _others(self) -> int:
        """Classes that an attack may aim at."""
        return int(self.session.logits.shape[1]) - 1

    @property
    def _whole(self) -> int:
        """Passes that all of AutoAttack takes on an example that survives."""
        plan = self.session.plan
        budget, targets = plan.budget, min(plan.budget.targets, self._others)
        return (
            2 * (1 + targets) * run_length(plan) + 3 * targets * budget.fab_steps + budget.square_queries
        ) * budget.restarts

    def _keep(self, **values: int) -> bool:
        """Write down what has been chosen, for a run that resumes this one; whether any of it is to be made."""
        if not self.session.ranks.rank:
            state = self.session.file.header().early_stopping
            self.session.file.update(early_stopping=state | values)
        return any(values.values())

    def _draws_wanted(self, left: int, breaks: float) -> float:
        """About how many draws make the interval narrow enough, if this many of the candidates would break."""
        total = len(self.everything)
        share = min(breaks / max(left, 1), 0.5)
        apart = min(2 * self.within * total / max(left, 1), 0.99 - share)
        worse = share + apart
        grown = (1 - share) * math.log((1 - share) / (1 - worse)) + (
            share * math.log(share / worse) if share else 0
        )
        alone = math.log(2 / (1 - self.session.plan.confidence)) / max(grown, 1e-9)
        # Without replacement fewer are needed; for an interval that holds at every number of draws more.
        return min(
            left, alone / (1 + alone / max(left, 1)) * min(ANYTIME + ANYTIME_BROKEN * share, ANYTIME_MOST)
        )

    def _scout(self, wanted: np.ndarray, scout: str) -> None:
        """The beginning of an attack on those of `wanted` of which it is not known how it ends."""
        if scout == SCOUT:
            self.session.scout(self._places(wanted))
            return
        evidence, plan = self.session.sync(), self.session.plan
        targets, steps = begun(scout, plan)
        known = (
            self._known(evidence, scout) if "apgd-t" in evidence.attacks else np.zeros(len(evidence), bool)
        )
        record = evidence.attacks.get(scout)
        noted = record.outcome != Outcome.NOT_RUN if record is not None else np.zeros_like(known)
        survived = wanted & known & ~evidence.broken_early(scout) & ~noted
        self._note(evidence, survived, scout, steps * min(targets, self._others))
        self.session.scout_targets(self._places(wanted & ~known & ~noted), scout)

    def _known(self, evidence: Evidence, scout: str) -> np.ndarray:
        """(n,) bool: the whole APGD-T has said how its beginning ends: it broke there, or went through all of it."""
        plan, whole = self.session.plan, evidence.attacks["apgd-t"]
        length = run_length(plan)
        targets = min(plan.budget.targets, self._others)
        run = (whole.steps - 1) // length
        # Runs that came close are made again in float32, which counts as more steps than all.
        beyond = (run >= begun(scout, plan)[0] - 1) & (whole.steps <= length * targets * plan.budget.restarts)
        broken = whole.outcome == Outcome.BROKEN
        return np.asarray(
            (whole.outcome != Outcome.NOT_RUN) & (~broken | beyond | evidence.broken_early(scout))
        )

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
        here, count = drawn(evidence, among), int(among.sum())
        done, lost = int(here.sum()), int((here & evidence.broken("autoattack")).sum())
        missing = self._draws_wanted(count, lost / max(done, 1) * count) - done
        self._tell(evidence, done, missing)
        # Half of what is thought to be missing: a look costs less than an attack that was not needed.
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
