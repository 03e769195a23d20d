"""Ours against the unmodified reference, attack by attack, on the same correctly classified examples.

    python benchmarks/parity.py cifar10:MODEL.pth:2/255:500 [...] --data-dir DIR --out docs/results/parity.md
    python benchmarks/parity.py cifar10:MODEL.pth:8/255:200 [...] --data-dir DIR --precision bf16 --against fp32

Each argument is data set, checkpoint, radius and number of examples. Both run each of AutoAttack's four attacks
alone at the standard budget, in float32 on one thread; robust accuracies are of all examples. With `--against` a
precision the other side is our own search in that one.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import torch

from robaudit.attacks import ATTACKS, Examples, forward
from robaudit.audit.reference import run_reference
from robaudit.engine import Engine
from robaudit.evidence import Outcome
from robaudit.fast import search_model
from robaudit.inputs import Classifier, Images, load_classifier, load_images
from robaudit.plan import AUTOATTACK, AuditPlan, Precision, ThreatModel, parse_fraction

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Row:
    """One attack on one model: robust accuracies and seconds, ours and the other's."""

    model: str
    attack: str
    examples: int
    ours: float
    other: float
    our_seconds: float
    other_seconds: float


def main() -> None:
    """Run the comparison and print (and with --out write) its table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cases", nargs="+", metavar="DATASET:MODEL:EPS:EXAMPLES")
    parser.add_argument("--norm", default="Linf", choices=["Linf", "L2", "L1"])
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--arch", help="as for robaudit check; of all cases")
    parser.add_argument("--normalise", help="as for robaudit check; of all cases")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--precision", default="fp32", choices=get_args(Precision), help="of our search")
    parser.add_argument("--against", default="reference", choices=["reference", *get_args(Precision)])
    parser.add_argument("--out", type=Path, help="append the table's rows to this Markdown file")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    for case in options.cases:
        dataset, path, eps, count = case.split(":")
        images = load_images(dataset, data_dir=options.data_dir, limit=int(count), seed=0)
        classifier = load_classifier(path, arch=options.arch, normalise=options.normalise, images=images)
        plan = AuditPlan(ThreatModel(options.norm, parse_fraction(eps)), examples="all")
        rows = compare(
            f"{Path(path).name} {options.norm} {eps}",
            classifier,
            images,
            plan,
            (options.precision, options.against),
        )
        text = "".join(line(row) for row in rows)
        print(text, end="", flush=True)
        if options.out:
            with options.out.open("a", encoding="utf-8") as file:
                file.write(text)


def compare(
    name: str, classifier: Classifier, images: Images, plan: AuditPlan, sides: tuple[str, str]
) -> list[Row]:
    """Every attack alone, then the worst case of the four, by both `sides`: a precision or the reference."""
    x = images.float()
    logits = torch.cat([forward(classifier, part) for part in x.split(256)])
    rows = (logits.argmax(1) == images.labels).nonzero().squeeze(1)
    examples = Examples(x[rows], images.labels[rows], images.ids[rows], logits[rows])
    ours_left, other_left = (torch.ones(len(rows), dtype=torch.bool) for _ in range(2))
    table, seconds = [], [0.0, 0.0]
    for attack in AUTOATTACK:
        (ours, ours_took), (theirs, theirs_took) = (
            timed(classifier, x, plan, attack, examples, side) for side in sides
        )
        ours_left &= ours
        other_left &= theirs
        seconds = [seconds[0] + ours_took, seconds[1] + theirs_took]
        table.append(row_of(name, attack, len(images), ours, theirs, [ours_took, theirs_took]))
    return [*table, row_of(name, "worst case", len(images), ours_left, other_left, seconds)]


def timed(
    classifier: Classifier, x: torch.Tensor, plan: AuditPlan, attack: str, examples: Examples, side: str
) -> tuple[torch.Tensor, float]:
    """(n,) bool: still robust after this attack; and the seconds it took."""
    robust = torch.ones(len(examples), dtype=torch.bool)

    def retire(retired: object) -> None:
        robust[retired.rows] = retired.outcome != Outcome.BROKEN  # type: ignore[attr-defined]

    started = time.perf_counter()
    if side == "reference":
        run_reference(attack, plan, classifier, examples, CPU, retire)
    else:
        search = search_model(classifier, CPU, side, x[:8])
        engine = Engine(search, classifier, plan.threat, 256, CPU, exact=search.exact)
        engine.run(ATTACKS[attack](plan), examples, retire)
    return robust, time.perf_counter() - started


def row_of(
    name: str, attack: str, total: int, ours: torch.Tensor, theirs: torch.Tensor, seconds: list[float]
) -> Row:
    """Robust accuracies over all examples, the misclassified ones included."""
    return Row(name, attack, total, float(ours.sum()) / total, float(theirs.sum()) / total, *seconds)


def line(row: Row) -> str:
    """One row of the Markdown table."""
    difference = 100 * (row.ours - row.other)
    return (
        f"| {row.model} | {row.attack} | {row.examples} | {100 * row.ours:.1f} | {100 * row.other:.1f} "
        f"| {difference:+.1f} | {row.our_seconds:.0f} | {row.other_seconds:.0f} |\n"
    )


if __name__ == "__main__":
    main()
