"""How an audit tells how far it is; the command line draws it, a library user may pass their own."""

from __future__ import annotations

from typing import Protocol

from robaudit.audit.outlook import examples_wanted
from robaudit.audit.prices import survivors_passes
from robaudit.evidence import Evidence
from robaudit.plan import AuditPlan, title
from robaudit.verdict import GAPS, gap, gaps


class Progress(Protocol):
    """Told of every stage: an attack on a number of examples."""

    def begin(self, stage: str, total: int) -> None:
        """`stage` is about to work on `total` examples."""
        ...

    def advance(self, stage: str, examples: int, broken: int, passes: int) -> None:
        """`examples` more are finished, `broken` of them broken, at the cost of `passes` model passes."""
        ...

    def end(self, stage: str) -> None:
        """`stage` is finished."""
        ...

    def note(self, text: str) -> None:
        """Something worth saying at once: a sentence."""
        ...


def tell_work(progress: Progress, plan: AuditPlan, examples: int, classes: int) -> None:
    """Every attack of an audit of this many examples, to a `progress` that has `expect` (see `audit.outlook`)."""
    expect = getattr(progress, "expect", None)
    if expect is not None:
        expect({name: (examples, survivors_passes(plan, name, classes)) for name in plan.attacks})


def tell_gaps(progress: Progress, evidence: Evidence) -> None:
    """What is known of the gaps, to a `progress` that has `look`, which takes a sentence.

    One that has `reach` is told of the examples done and wanted, too (see `audit.outlook`).
    """
    look, reach = getattr(progress, "look", None), getattr(progress, "reach", None)
    if reach and (work := examples_wanted(evidence)):
        reach(*work)
    if look is None:
        return
    parts = []
    for name in gaps(evidence):
        found, bound = gap(evidence, name), getattr(evidence.header.plan.bounds, GAPS[name][2])
        if found:
            value, low, high = (f"{100 * item:+.1f}" for item in (found.value, found.low, found.high))
            parts.append(f"{title(name)} {value} ({low} … {high}), bound {100 * bound:g}, of {found.n}")
    look("   ".join(parts))


class Silent:
    """Says nothing."""

    def begin(self, stage: str, total: int) -> None:
        """Nothing."""

    def advance(self, stage: str, examples: int, broken: int, passes: int) -> None:
        """Nothing."""

    def end(self, stage: str) -> None:
        """Nothing."""

    def note(self, text: str) -> None:
        """Nothing."""
