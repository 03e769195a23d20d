"""What `--within` costs and whether it holds: against the full audit of the same examples, and against peers.

    python benchmarks/within.py cifar10:MODEL.pth:8/255:2000 [...] --data-dir DIR --work DIR

Each argument is data set, checkpoint, radius and number of examples. Evidence is kept under --work and used again.
The full audit runs each attack alone; what a cascade costs (an example leaves when one attack broke it) is counted from
its records, in the order that is cheapest; `--cascade` runs a cascade instead, which takes less. `--peer` runs
`pyautoattack` on all of them too. `--beyond 10000` runs `--within` on so many examples besides, and says what share
that is of a cascade extrapolated from the first one's passes: a cascade's passes are a sum over examples, so those of
survivors and of the others are each taken as many times as there are. Prints Markdown.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from vs_reference import by_pyautoattack

from robaudit.attacks import Examples, forward
from robaudit.audit import audit
from robaudit.evidence import Evidence, Outcome
from robaudit.inputs import Classifier, Images, load_classifier, load_images
from robaudit.plan import AUTO_DRAWS, AUTOATTACK, AuditPlan, ThreatModel, parse_fraction
from robaudit.stats import proportion
from robaudit.verdict import accuracy

#: Precisions asked for, in points.
WITHIN = (1.0, 0.5)
#: Examples of the random subsample that papers use.
USUAL = 1000


@dataclass(frozen=True)
class Case:
    """One checkpoint and its examples."""

    name: str
    classifier: Classifier
    every: Images
    plan: AuditPlan
    work: Path

    @property
    def images(self) -> Images:
        """Those that the plan takes of all."""
        return self.every.subset(self.plan.limit, self.plan.seed)

    def audited(self, plan: AuditPlan, kind: str) -> Evidence:
        """The audit of this kind, made or kept."""
        images = self.every.subset(plan.limit, plan.seed)
        path = self.work / f"{self.name}.{kind}.evidence"
        return audit(self.classifier, images, plan, path=path, force=True)


def cascade(full: Evidence) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """(n,) passes of each example in the cheapest cascade of AutoAttack's attacks, and its order.

    They are counted from an audit that ran each attack alone.
    """
    order = min(itertools.permutations(AUTOATTACK), key=lambda names: int(_passes(full, names).sum()))
    return _passes(full, order), order


def _passes(full: Evidence, names: tuple[str, ...]) -> NDArray[np.int64]:
    left, costs = full.correct.copy(), np.ones(len(full), np.int64)
    for name in names:
        record = full.attacks[name]
        costs += np.where(left, record.forwards + record.backwards, 0)
        left &= record.outcome != Outcome.BROKEN
    return costs


def extrapolated(costs: NDArray[np.int64], survives: NDArray[np.bool_], n: int, value: float) -> float:
    """Passes of the cascade on `n` examples of which the share `value` survives: a sum over examples of both kinds."""
    means = [
        float(costs[rows].mean()) if rows.any() else float(costs.mean()) for rows in (survives, ~survives)
    ]
    return n * (value * means[0] + (1 - value) * means[1])


def rows_of(case: Case, peer: bool, beyond: int, cascaded: bool = False) -> list[str]:
    """The table's rows of one checkpoint; with `beyond` those of as many examples too."""
    if cascaded:
        plan = AuditPlan.from_flags(case.plan.threat, attacks="autoattack", limit=case.plan.limit)
        full = case.audited(plan, "cascade")
        costs, order = _passes(full, plan.members), plan.members
    else:
        full = case.audited(replace(case.plan, examples="all"), "full")
        costs, order = cascade(full)
    survives = full.survives("autoattack")
    truth, n, whole = float(survives.mean()), len(full), float(costs.sum())
    rows = [_row(case.name, f"cascade of {', '.join(order)}", n, f"{100 * truth:.2f}", "", "", 1.0)]
    rows += [_within(case, points, n, lambda _: whole, truth) for points in WITHIN]
    if n > USUAL:
        some = np.random.default_rng(0).choice(n, USUAL, replace=False)
        usual = proportion(int(survives[some].sum()), USUAL, case.plan.confidence)
        limits = f"{100 * usual.low:.2f} … {100 * usual.high:.2f}"
        value = f"{100 * usual.value:.2f}"
        rows.append(_row(case.name, f"{USUAL} random examples", USUAL, value, limits, "", USUAL / n))
    if beyond:
        beyond_whole = partial(extrapolated, costs, survives, beyond)
        rows += [_within(case, points, beyond, beyond_whole, None) for points in WITHIN]
    return rows + ([_peer(case, whole)] if peer else [])


def _within(case: Case, points: float, n: int, whole: Callable[[float], float], truth: float | None) -> str:
    """The row of `--within` on `n` examples, whose cascade gives `truth`, if known.

    `whole` says how many passes that takes, given the share that survives.
    """
    kind = f"within{points:g}" if truth is not None else f"within{points:g}of{n}"
    found = case.audited(replace(case.plan, within=points / 100, limit=n), kind)
    measured = accuracy(found, "autoattack")
    assert measured is not None
    limits, how = f"{100 * measured.low:.2f} … {100 * measured.high:.2f}", f"--within {points:g}"
    if truth is None:
        how += ", the cascade extrapolated"
    else:
        inside = "yes" if measured.low - 1e-9 <= truth <= measured.high + 1e-9 else "NO"
        limits += f", the cascade's inside: {inside}"
    value, seconds = f"{100 * measured.value:.2f}", f"{found.header.seconds:.0f}"
    return _row(case.name, how, n, value, limits, seconds, sum(found.passes) / whole(measured.value))


def _peer(case: Case, whole: float) -> str:
    x = case.images.float(slice(None))
    logits = forward(case.classifier, x)
    right = logits.argmax(1) == case.images.labels
    examples = Examples(x[right], case.images.labels[right], case.images.ids[right], logits[right])
    began = time.perf_counter()
    found = by_pyautoattack(case.classifier, examples, case.plan, x.device)
    seconds = time.perf_counter() - began
    share = (found.forwards + found.backwards + len(x)) / whole
    value = f"{100 * found.robust / len(x):.2f}"
    return _row(case.name, "pyautoattack", len(x), value, "", f"{seconds:.0f}", share)


def _row(*cells: object) -> str:
    *others, share = cells
    return f"| {' | '.join(map(str, others))} | {100 * float(str(share)):.1f} % |"


def main() -> None:
    """Run the comparisons and print their table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cases", nargs="+", metavar="DATASET:MODEL:EPS:EXAMPLES")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--work", type=Path, required=True, help="where evidence is kept")
    parser.add_argument("--peer", action="store_true", help="run pyautoattack too")
    parser.add_argument(
        "--cascade", action="store_true", help="take the cascade as --attacks autoattack runs it"
    )
    parser.add_argument("--beyond", type=int, default=0, help="run --within on so many examples too")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    print(
        "| checkpoint | how | examples | AutoAttack, % | 99 % interval | seconds | passes of the cascade's |"
    )
    print("|---|---|---|---|---|---|---|")
    for text in options.cases:
        dataset, _, rest = text.partition(":")
        path, eps, count = rest.rsplit(":", 2)  # a factory's path has a colon of its own
        every = load_images(dataset, data_dir=options.data_dir, seed=0)
        plan = AuditPlan(ThreatModel("Linf", parse_fraction(eps)), limit=int(count), eot=AUTO_DRAWS)
        case = Case(
            name=Path(path).stem if Path(path).exists() else path.rpartition(":")[2],
            classifier=load_classifier(path, images=every),
            every=every,
            plan=plan,
            work=options.work,
        )
        print(*rows_of(case, options.peer, options.beyond, options.cascade), sep="\n", flush=True)


if __name__ == "__main__":
    main()
