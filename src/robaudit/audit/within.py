"""AutoAttack's robust accuracy to a stated precision: short attacks on all examples, whole ones on some of the rest.

1. Short attacks (`short_attacks`), each the beginning of one of AutoAttack's. What they break is known for good.
2. Whole attacks, on the candidates that are left, in the audit's random order, until the interval is narrow enough.

What an earlier part of the audit attacked to the end counts as drawn, if it is among the candidates: whether it is one
says nothing of the order, so the draws are a random sample whatever was chosen on the way (docs/statistics.md).
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from robaudit.audit.session import Session
from robaudit.audit.short_attacks import ShortAttacks
from robaudit.errors import RobauditError
from robaudit.evidence import MINIMUM, SCOUTED, Attacks, Evidence
from robaudit.stats import draws_wanted
from robaudit.verdict import Claim, judge
from robaudit.verdict.claim import claim_kept, could_be_decided
from robaudit.verdict.sample_claims import sample_contradictions
from robaudit.verdict.sampling import candidates, drawn, estimate, narrow

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
        if wrong := sample_contradictions(session.sync()):
            raise RobauditError(
                f"{session.file.path}: holds what is not true: {wrong[0]}; choose another --evidence"
            )

    def run(self) -> None:
        """As far as it takes."""
        session = self.session
        if session.prepared < len(self.everything):  # by this process, whatever the file holds
            session.prepare(self.everything[session.prepared :])
        if not session.sync().header.early_stopping.get(SCOUTED):
            ShortAttacks(session).run()
        for name in self._others_wanted():
            while self._is_wanted(evidence := session.sync(), name):
                places = self._places(evidence.open(name))
                if not len(places):
                    break
                self._attack((name,), name, places[:MOST_DRAWS])
        self._mark(False)
        while not self._enough(evidence := self.session.sync()):
            if not self._draw(evidence):
                return

    def _others_wanted(self) -> list[str]:
        """The attacks whose own number is wanted besides: the plan's, and that of the claim."""
        claims = (self.claim, claim_kept(self.session.sync()))
        names = {self.session.plan.estimate, *(claim.attack for claim in claims if claim)}
        return sorted(name for name in names if name not in (None, "autoattack", "pgd10"))

    def _is_wanted(self, evidence: Evidence, attack: str) -> bool:
        """Whether more has to be known of an attack's number: for its precision, or for a claim about it."""
        if not narrow(evidence, attack):
            return True
        verdict = judge(evidence, self.claim)
        asked = [item for item in (verdict.claim, verdict.minimum) if item and item.claim.attack == attack]
        return any(item.outcome == "inconclusive" and could_be_decided(evidence, item) for item in asked)

    def _enough(self, evidence: Evidence) -> bool:
        """Whether all is known that was asked; what a policy's minimum needs is enough for a policy."""
        if estimate(evidence) is None:
            return False
        verdict = judge(evidence, self.claim)
        if verdict.minimum is not None and verdict.minimum.outcome != "inconclusive":
            self._mark(True)
            return True
        return not self._is_wanted(evidence, "autoattack")

    def _mark(self, ended_with_minimum: bool) -> None:
        """Keep whether the draws ended with a policy's minimum."""
        state = self.session.file.header().early_stopping
        if self.session.ranks.first and ended_with_minimum != bool(state.get(MINIMUM)):
            others = {name: value for name, value in state.items() if name != MINIMUM}
            self.session.file.update(early_stopping=others | {MINIMUM: 1} if ended_with_minimum else others)

    def _draw(self, evidence: Evidence) -> bool:
        """Attack the next candidates to the end; whether there were any."""
        among = candidates(evidence)
        assert among is not None
        places = self._places(among & evidence.open("autoattack"))
        if not len(places):
            return False
        here, count = drawn(evidence, among), int(among.sum())
        done, lost = int(here.sum()), int((here & evidence.broken("autoattack")).sum())
        broken, confidence = lost / max(done, 1) * count, self.session.plan.confidence
        wanted = draws_wanted(count, broken, len(self.everything), self.within, confidence)
        missing = wanted - done
        self._tell(evidence, done, missing)
        # Half of what is thought to be missing: a look costs less than an attack that was not needed.
        group = places[: int(np.clip(missing / 2, LEAST_DRAWS, MOST_DRAWS))]
        self._attack(("square", "apgd-t", "apgd-ce", "fab-t"), "autoattack", group)
        return True

    def _attack(self, names: tuple[str, ...], whole: Attacks, places: Tensor) -> None:
        """One attack after the other, until it is known of each of `places` what becomes of it under `whole`."""
        session = self.session
        for name in names:
            still = torch.from_numpy(session.sync().open(whole))[places]
            session.attack(name, session.pending(name, places[still]))
        if session.sync().open(whole)[places.numpy()].any():
            raise RobauditError(
                f"{session.file.path}: holds an attack on an example with no outcome; choose another --evidence"
            )

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
