"""The order of work of an audit that stops when the verdict is decided: the cheapest evidence first.

1. Scouting, of growing numbers of examples: PGD-10, then Square's first queries on what survived it. Where these break
   so much that a gap may be shown, the examples that PGD-10 broke get the same, and APGD on the cross-entropy.
2. Deepening, from the first example on: those that survived PGD-10 get Square and the rest of AutoAttack, each until
   it is broken by one. An example that PGD-10 broke can only make a gap smaller; Square's answer to it is waited for
   only where the gap to Square is the last that is open.
3. The head: every attack alone on the first examples, for the table and the causes.

What is known in part is counted against whatever is to be decided (`verdict.table.bounded`), so the order cannot make
the verdict wrong. Looks are numbered and recorded: a resumed audit decides where an undisturbed one does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from robaudit.audit.progress import tell_gaps
from robaudit.audit.session import Session
from robaudit.evidence import SCOUT, Evidence
from robaudit.plan import STANDARD_ATTACKS, AuditPlan
from robaudit.verdict import Verdict, gap_sides

#: Examples of the first stretch; each further one is a quarter of what came before, and at least the second number.
FIRST_STRETCH_EXAMPLES, STRETCH_EXAMPLES = 64, 32
#: Examples scouted before any is deepened; a gap of 20 points shows by then (docs/results/coverage.md).
SCOUTED_EXAMPLES = 256
#: Examples that every attack is run on: fewer are reported as few.
HEAD_EXAMPLES = 50


def growing(start: int, end: int) -> Iterator[Tensor]:
    """Places from `start` to `end` in stretches that keep to the same ends whatever `end` is."""
    done = 0
    while done < end:
        until = min(done + max(STRETCH_EXAMPLES, done // 4) if done else FIRST_STRETCH_EXAMPLES, end)
        if until > start:
            yield torch.arange(max(done, start), until)
        done = until


def can_stop_early(plan: AuditPlan) -> bool:
    """Whether this order can be kept: a verdict is possible and the attacks are ours."""
    return (
        plan.examples == "auto"
        and not plan.cascade
        and plan.engine == "robaudit"
        and set(STANDARD_ATTACKS) <= set(plan.attacks)
    )


class EarlyStopping:
    """One audit's way through the three parts."""

    def __init__(self, session: Session, verdict: Callable[[Evidence], Verdict], claimed: str | None):
        self.session, self.verdict = session, verdict
        self.total = len(session.images)
        # Asked for by name: known of every example that is deepened.
        self.fully = [
            name for name in session.plan.attacks if name not in STANDARD_ATTACKS or name == claimed
        ]
        self.state = dict(session.ranks.agree(session.file.header().early_stopping))
        self.number = self.audited = 0

    def run(self) -> None:
        """As far as it takes."""
        if not (self._scouting() or self._deepening()):
            self._everywhere()
        head = torch.arange(min(HEAD_EXAMPLES, self.audited))
        for name in self.session.plan.attacks:
            self.session.attack(name, self.session.pending(name, head))

    def _scouting(self) -> bool:
        return any(self._scout(places) for places in growing(0, min(SCOUTED_EXAMPLES, self.total)))

    def _deepening(self) -> bool:
        for places in growing(0, self.total):
            self._begin(places[places >= self.audited])
            seen = torch.arange(int(places[-1]) + 1)
            self._deepen(seen)
            if self._look():
                return True
            if self.state.get("everywhere"):
                self._deepen(seen)
                if self._look():
                    return True
        return False

    def _everywhere(self) -> None:
        """At the last example and still open: what was left out may decide it."""
        self._keep(everywhere=1)
        self._deepen(torch.arange(self.total))
        self._look()

    def _begin(self, places: Tensor) -> None:
        if len(places):
            self.session.prepare(places)
            self.session.attack("pgd10", self.session.pending("pgd10", places))
            self.audited = int(places[-1]) + 1

    def _scout(self, places: Tensor) -> bool:
        """Whether the verdict is decided by what is cheap, of all places up to these."""
        self._begin(places)
        if self._look():
            return True
        standing = torch.from_numpy(self.session.sync().survives("pgd10"))[places]
        self.session.scout(places[standing])
        if self._look():
            return True
        if self._promising():
            seen = torch.arange(self.audited)
            evidence = self.session.sync()
            lost = seen[torch.from_numpy(evidence.broken("pgd10"))[seen]]
            self.session.scout(lost)
            self.session.attack("apgd-ce", self.session.open("autoattack", lost))
        return self._look()

    def _promising(self) -> bool:
        """Whether the scout's breaks reach a bound if nothing is counted against them."""
        evidence = self.session.sync()
        found = evidence.survives("pgd10") & evidence.broken_early(SCOUT)
        bounds = self.session.plan.bounds
        return bool(found[: self.audited].mean() >= min(bounds.pgd_square, bounds.pgd_autoattack))

    def _deepen(self, places: Tensor) -> None:
        session = self.session
        standing = places[torch.from_numpy(session.sync().survives("pgd10"))[places]]
        everywhere = places if self.state.get("everywhere") else standing
        session.attack("square", session.open("square", everywhere))
        for name in ("apgd-ce", "apgd-t", "square", "fab-t"):
            # Of those that no attack broke, and that this one was not run on.
            session.attack(name, session.open(name, session.open("autoattack", places)))
        for name in self.fully:
            session.attack(name, session.pending(name, places))

    def _look(self) -> bool:
        """Whether this look settles it; an earlier run's answer to the same look is taken over."""
        self.number += 1
        if self.number <= self.state.get("looks", 0):
            return False
        if self.number < self.state.get("decided", 0):
            return False
        evidence = self.session.sync()
        tell_gaps(self.session.progress, evidence)
        verdict = self.verdict(evidence)
        if verdict.settled:
            if not self.state.get("decided"):
                forwards, backwards = evidence.passes
                self._keep(decided=self.number, examples=self.audited, forwards=forwards, backwards=backwards)
            return True
        self.state.pop("decided", None)  # a claim may have been added since
        still_open = [name for name, side in gap_sides(evidence).items() if side == "undecided"]
        everywhere = self.state.get("everywhere") or still_open == ["pgd10-square"]
        self._keep(looks=self.number, everywhere=int(everywhere))
        return False

    def _keep(self, **values: int) -> None:
        self.state |= values
        if not self.session.ranks.rank:
            self.session.file.update(early_stopping=self.state)
