"""Two evidences, example by example: is the new model worse than the old one?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from robaudit.evidence import Evidence, Header
from robaudit.stats import Interval, decide, gap_sequence, paired_gap
from robaudit.verdict import table
from robaudit.verdict.judge import judge
from robaudit.wording import examples

Comparison = Literal["better", "not-worse", "worse", "inconclusive"]

#: What an accuracy is compared under, the strongest first.
_STRONGEST = ("autoattack", "square", "pgd10")


@dataclass(frozen=True)
class Difference:
    """What changed from an old model to a new one.

    Attributes:
        outcome: `worse` when the robust accuracy fell by at least `margin`, or robustness became overestimated;
            `better` when it is known to have risen by at least as much; `not-worse` when it is known to have fallen by
            less, and no more than that.
        summary: the reason in one sentence.
        attack: under which the robust accuracy was compared.
        titles: what people call the rows, a smaller budget said.
        losses: old minus new by row of the accuracy table, paired, with its interval; positive where the new model
            is worse.
        margin: the loss that is still accepted, a fraction.
        broken, fixed: ids that only the new, or only the old, model loses to `attack`.
        changed: (field, old, new) of the headers and the verdicts.
        appeared, gone: codes of findings.

    """

    outcome: Comparison
    summary: str
    attack: str
    titles: dict[str, str]
    losses: dict[str, Interval]
    margin: float
    broken: tuple[int, ...]
    fixed: tuple[int, ...]
    changed: tuple[tuple[str, str, str], ...]
    appeared: tuple[str, ...]
    gone: tuple[str, ...]


def compare(old: Evidence, new: Evidence, margin: float = 0.02) -> Difference:
    """Whether `new` is worse than `old`, at the new plan's confidence.

    Both must be about the same examples in the same order, so that the pairs are a simple random sample at whatever
    number of examples the two audits stopped; two audits of all their examples may differ in order.

    Raises:
        ValueError: other data, another threat model or budget, another order, or no attack in common.

    """
    if not 0 < margin < 1:
        raise ValueError(f"margin {margin:g} must be in (0, 1), for example 0.02 for 2 points")
    _comparable(old.header, new.header)
    fixed = old.header.plan.examples == new.header.plan.examples == "all"
    pairs = _pairs(old, new, fixed)
    names = [
        name
        for name in table.rows(new)
        if name in table.rows(old) and table.column(new, name) == table.column(old, name)
    ]
    attack = next((name for name in _STRONGEST if name in names), "")
    if not attack:
        raise ValueError("no attack in common; audit both with the same --attacks")
    values = {name: _losses(old, new, name, pairs) for name in names}
    confidence, total = new.header.plan.confidence, table.population(new)
    losses = {
        name: _interval(item[0], total, confidence, fixed) for name, item in values.items() if len(item[0])
    }
    lost, ids = values[attack]
    plan, classes = new.header.plan, int(new.header.data.get("classes", 1 << 30))
    titles = {name: plan.title(name, classes) for name in names}
    outcome, summary = _outcome(lost, titles[attack], losses.get(attack), margin, (total, confidence, fixed))
    before, after = judge(old), judge(new)
    if after.outcome == "overestimated" != before.outcome:
        outcome, summary = (
            "worse",
            "The new model's robustness is overestimated, which the old one's is not known to be.",
        )
    codes = [{item.code for item in verdict.causes} for verdict in (before, after)]
    changed = _changes(old.header, new.header)
    if before.outcome != after.outcome:
        changed.insert(0, ("verdict", before.outcome, after.outcome))
    return Difference(
        outcome=outcome, summary=summary, attack=attack, titles=titles, losses=losses, margin=margin,
        broken=tuple(ids[lost > 0].tolist()), fixed=tuple(ids[lost < 0].tolist()), changed=tuple(changed),
        appeared=tuple(sorted(codes[1] - codes[0])), gone=tuple(sorted(codes[0] - codes[1])),
    )  # fmt: skip


def _comparable(old: Header, new: Header) -> None:
    pairs: list[tuple[str, Any, Any]] = [
        ("data", old.data.get("sha256"), new.data.get("sha256")),
        ("split", old.data.get("split"), new.data.get("split")),
        ("norm", old.plan.threat.norm, new.plan.threat.norm),
        ("eps", old.plan.threat.eps, new.plan.threat.eps),
        ("budget", old.plan.budget, new.plan.budget),
        ("version of AutoAttack", old.plan.version, new.plan.version),
    ]
    for name, there, here in pairs:
        if there != here:
            raise ValueError(f"another {name} ({there} there, {here} here); audit both alike")


def _pairs(old: Evidence, new: Evidence, fixed: bool) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows of the examples that both hold, in the new one's order."""
    if not fixed:
        size = min(len(old), len(new))
        if (old.ids[:size] != new.ids[:size]).any():
            raise ValueError("another order of the examples; audit both with the same --seed and --limit")
        rows = np.arange(size)
        return rows, rows
    shared, first, second = np.intersect1d(old.ids, new.ids, return_indices=True)
    if not len(shared):
        raise ValueError("no example in common; audit both with the same --seed and --limit")
    return first, second


def _losses(
    old: Evidence, new: Evidence, name: str, pairs: tuple[NDArray[np.int64], NDArray[np.int64]]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Survives in the old minus survives in the new, and the ids, of the pairs known under both."""
    sides = []
    for evidence, rows in zip((old, new), pairs, strict=True):
        known = table.known(evidence, name)
        stands = evidence.correct if name == "clean" else evidence.survives(table.column(evidence, name))
        sides.append((known[rows], stands[rows].astype(np.int64)))
    known = sides[0][0] & sides[1][0]
    return (sides[0][1] - sides[1][1])[known], new.ids[pairs[1]][known]


def _interval(values: NDArray[np.int64], total: int | None, confidence: float, fixed: bool) -> Interval:
    if fixed:
        return paired_gap(int((values > 0).sum()), int((values < 0).sum()), len(values), confidence)
    return gap_sequence(values, total, confidence)


def _outcome(
    lost: NDArray[np.int64],
    title: str,
    found: Interval | None,
    margin: float,
    setting: tuple[int | None, float, bool],
) -> tuple[Comparison, str]:
    if found is None:
        return "inconclusive", f"No example is known under {title} in both."
    total, confidence, fixed = setting
    if fixed:
        side = "above" if found.low >= margin else "below" if found.high < margin else "undecided"
        better = found.high <= -margin
    else:
        side = decide(lost, total, margin, confidence).kind
        better = side == "below" and decide(-lost, total, margin, confidence).kind == "above"
    points = f"{abs(100 * found.value):.1f} points {'less' if found.value > 0 else 'more'}"
    message = f"The new model keeps {points} robust accuracy under {title} than the old one"
    limit = f"the margin is {100 * margin:g}"
    if side == "above":
        return "worse", f"{message}; {limit}."
    if better:
        return "better", f"{message}, more than the margin of {100 * margin:g}."
    if side == "below":
        return "not-worse", f"{message}, and has lost less than the margin of {100 * margin:g}."
    return (
        "inconclusive",
        f"{message}; {examples(found.n)} cannot settle on which side of the margin that lies, {limit}.",
    )


def _changes(old: Header, new: Header) -> list[tuple[str, str, str]]:
    """The fields in which two headers differ, as text."""
    found = []
    for part in ("model", "versions", "plan"):
        sides = [header.plan.to_dict() if part == "plan" else getattr(header, part) for header in (old, new)]
        for name in sorted(sides[0].keys() | sides[1].keys()):
            before, after = sides[0].get(name), sides[1].get(name)
            if before != after and name != "notes":
                found.append((f"{part}.{name}", str(before), str(after)))
    return found
