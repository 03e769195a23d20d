"""Whether what an evidence file says hangs together: no model and no data are needed to see that it does not."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from robaudit.evidence.evidence import Evidence, Outcome
from robaudit.evidence.scouts import SCOUTS, within_beginning
from robaudit.evidence.store import EvidenceFile
from robaudit.plan import AuditPlan, title

#: Contradictions of one kind that are named; the rest are counted.
_NAMED = 3
#: Of the examples scouted, the share whose outcome rounding may tip, and a number that it always may.
_ROUNDED_SHARE, _ROUNDED_LEAST = 1 / 50, 2


@dataclass(frozen=True)
class _Row:
    """One row of the outcomes, as it stands in the file."""

    attack: str
    id: int
    outcome: int
    steps: int
    has_witness: bool

    def __str__(self) -> str:
        return f"{title(self.attack)} on example {self.id}"


def contradictions(file: EvidenceFile) -> list[str]:
    """What cannot be true of an audit, in words; an empty list where everything hangs together."""
    evidence = file.read()
    rows = [
        _Row(attack, key, outcome, steps, witness is not None)
        for attack, key, outcome, steps, witness in file.columns(
            "outcomes", "attack", "id", "outcome", "steps", "witness"
        )
    ]
    found = [*_examples(evidence, file), *_course(evidence)]
    for what, wrong in (*_outcomes(evidence, rows), *_left_behind(file, rows)):
        if wrong:
            more = f" and {len(wrong) - _NAMED} more" if len(wrong) > _NAMED else ""
            found.append(f"{', '.join(wrong[:_NAMED])}{more}: {what}")
    return found


def full_steps(plan: AuditPlan, attack: str, classes: int) -> int:
    """The steps of an attack that is never successful, as the outcomes count them."""
    budget = plan.budget_of(attack)
    targets = max(min(budget.targets, classes - 1), 1)
    if attack == "pgd10":
        return budget.pgd_steps + 1  # and the start
    if attack == "square":
        return budget.square_queries * budget.restarts
    if attack in ("fab", "fab-t"):
        return budget.fab_steps * (targets if attack == "fab-t" else 1) * budget.restarts
    starts = 3 if plan.threat.norm == "L1" else 1  # one at each radius
    return (budget.apgd_steps + starts) * (targets if attack == "apgd-t" else 1) * budget.restarts


def _examples(evidence: Evidence, file: EvidenceFile) -> Iterator[str]:
    data, model, plan = evidence.header.data, evidence.header.model, evidence.header.plan
    n, total = len(evidence), int(data["total"])
    positions = sorted(row[0] for row in file.columns("examples", "position"))
    if positions != list(range(n)):
        yield f"{n} examples are not at places 0 to {n - 1}: some were taken out or put in"
    most = min(total, plan.limit or total)
    if not n <= data["n"] <= most:
        yield f"{n} examples of {data['n']} to be audited, of which there can be {most}"
    if n and not (evidence.ids.min() >= 0 and evidence.ids.max() < total):
        yield f"an example's id is outside a split of {total}"
    for name, values, classes, least in (
        ("label", evidence.labels, int(data["classes"]), 0),
        ("prediction", evidence.predictions, int(model["classes"]), -1),
    ):
        if n and (values.min() < least or (classes and values.max() >= classes)):
            yield f"a {name} is outside {classes} classes"


def _course(evidence: Evidence) -> Iterator[str]:
    stopping, (forwards, backwards) = evidence.header.early_stopping, evidence.passes
    for name, most in (("examples", len(evidence)), ("forwards", forwards), ("backwards", backwards)):
        if stopping.get(name, 0) > most:
            yield f"decided after {stopping[name]} {name}, but the file holds {most}"


def _outcomes(evidence: Evidence, rows: list[_Row]) -> Iterator[tuple[str, list[str]]]:
    """(what is wrong, with which rows)."""
    plan = evidence.header.plan
    correct = dict(zip(evidence.ids.tolist(), evidence.correct.tolist(), strict=True))
    known = {*plan.attacks, *SCOUTS}
    classes = int(evidence.header.model["classes"]) or int(evidence.header.data["classes"])
    yield "no attack of the plan", [str(row) for row in rows if row.attack not in known]
    yield "no audited example", [str(row) for row in rows if row.id not in correct]
    rows = [row for row in rows if row.attack in known and row.id in correct]
    yield (
        "misclassified before any attack, so there is nothing to break or to survive",
        [str(row) for row in rows if not correct[row.id] and row.outcome != Outcome.NOT_RUN],
    )
    yield (
        "attacked, with no outcome",
        [str(row) for row in rows if correct[row.id] and row.outcome == Outcome.NOT_RUN],
    )
    yield (
        "a witness of what is not broken",
        [str(row) for row in rows if row.has_witness and row.outcome != Outcome.BROKEN],
    )
    yield (
        "a break of these first steps is the whole attack's",
        [str(row) for row in rows if row.attack in SCOUTS and row.outcome == Outcome.BROKEN],
    )
    if plan.engine == "robaudit":  # the reference does not count steps
        yield (
            "said to survive, after fewer steps than the plan has",
            [
                str(row)
                for row in rows
                if row.outcome == Outcome.ROBUST
                and row.attack not in SCOUTS
                and row.steps < full_steps(plan, row.attack, classes)
            ],
        )
        yield (
            "said to have met no number, before its first step",
            [str(row) for row in rows if row.outcome == Outcome.NONFINITE and row.steps < 1],
        )
    for scout, attack in SCOUTS.items():
        yield "broken within the steps that the scout says it survived", _sooner(rows, scout, attack, plan)


def _sooner(rows: list[_Row], scout: str, attack: str, plan: AuditPlan) -> list[str]:
    """Breaks that the scout should have met, where there are more than rounding explains."""
    first = {row.id for row in rows if row.attack == scout and row.outcome == Outcome.ROBUST and row.steps}
    broken = [
        row for row in rows if row.attack == attack and row.outcome == Outcome.BROKEN and row.id in first
    ]
    early = within_beginning(scout, [row.steps for row in broken], plan)
    sooner = [str(row) for row, met in zip(broken, early, strict=True) if met]
    # Rounding may tip the outcome of a few: the two runs were in other batches.
    most = max(_ROUNDED_LEAST, int(_ROUNDED_SHARE * len(first)))
    return sooner if len(sooner) > most else []


def _left_behind(file: EvidenceFile, rows: list[_Row]) -> Iterator[tuple[str, list[str]]]:
    """What only a break leaves in a file."""
    broken = {(row.attack, row.id) for row in rows if row.outcome == Outcome.BROKEN}
    ids = {key for _, key in broken}
    kept = sorted(key for (key,) in file.columns("images", "id") if key not in ids)
    yield "its image is kept as that of a broken example, but no break is", [f"example {key}" for key in kept]
    answers = sorted(set(file.columns("answers", "attack", "id")) - broken)
    yield (
        "the class of its witness is kept, but no break is",
        [f"{title(name)} on example {key}" for name, key in answers],
    )


def doubtful(evidence: Evidence) -> NDArray[np.bool_]:
    """(n,) bool: AutoAttack's survivors that another attack breaks. That can be, though seldom."""
    broken = np.zeros(len(evidence), dtype=bool)
    if not set(evidence.header.plan.members) <= set(evidence.header.plan.attacks):
        return broken
    for name in evidence.attacks:
        broken |= evidence.broken(name)
    return np.asarray(broken & evidence.survives("autoattack"))
