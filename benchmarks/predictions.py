"""How near to a break came those that break late? What `--within` spends more of its short attacks on.

    python benchmarks/predictions.py MODEL.pth:FULL.evidence [...] --data-dir DIR

FULL.evidence is an audit with `--examples all`, as `within.py` leaves them under --work, or one with `--attacks
autoattack`. The short attacks that `--within` makes on every example are made once more; of the candidates that they
leave those that break later are ranked by the largest margin that they met. Prints Markdown.

`--square 1000` asks instead whom Square breaks, of so many random candidates of a file that `--within` may have left:
ranked by the same margins, and by these and those of Square's first 300 queries.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from robaudit.attacks import ATTACKS, Examples, Retired, forward
from robaudit.attacks.state import take
from robaudit.audit.beginnings import beginning_of
from robaudit.engine import Engine
from robaudit.evidence import SCOUT_MORE, SCOUT_TARGETED, SCOUT_WIDE, Evidence, EvidenceFile, Outcome
from robaudit.inputs import Classifier, Images, load_classifier, load_images

BATCH = 500
#: What candidates are ranked by.
BY_APGD = "APGD-T's margins"


def largest_margins(model: Classifier, examples: Examples, evidence: Evidence) -> NDArray[np.float64]:
    """(n,) over the steps of both beginnings of APGD-T; infinite where they break."""
    plan, met = evidence.header.plan, torch.full((len(examples),), float("-inf"))

    def retire(retired: Retired) -> None:
        broken = retired.outcome == int(Outcome.BROKEN)
        here = torch.where(broken, float("inf"), retired.closest)
        met[retired.rows] = torch.maximum(met[retired.rows], here)

    engine = Engine(model, model, plan.threat, slots=BATCH, device=torch.device("cpu"))
    for scout in (SCOUT_TARGETED, SCOUT_WIDE):
        engine.run(beginning_of(scout, plan).of("apgd-t", plan), examples, retire)
    return met.double().numpy()


def candidates_of(
    model: Classifier, images: Images, evidence: Evidence
) -> tuple[Examples, NDArray[np.float64]]:
    """What both beginnings of APGD-T leave, and the largest margin that each met."""
    x, right = images.float(), torch.from_numpy(evidence.correct)
    logits = torch.cat([forward(model, part) for part in x.split(BATCH)])
    examples = take(Examples(x, images.labels, images.ids, logits), right.nonzero().squeeze(1))
    margins = largest_margins(model, examples, evidence)
    left = np.isfinite(margins)
    return take(examples, torch.from_numpy(np.flatnonzero(left))), margins[left]


#: By the name of a ranking: the places of the candidates that break, in percent from the nearest.
Rankings = dict[str, NDArray[np.float64]]


def places(model: Classifier, images: Images, evidence: Evidence) -> tuple[int, Rankings]:
    """How many candidates there are, and the places of those that the evidence says break."""
    examples, margins = candidates_of(model, images, evidence)
    lost = np.isin(examples.ids.numpy(), evidence.ids[evidence.broken("autoattack")])
    breaks = lost[np.argsort(-margins, kind="stable")]
    return len(examples), {BY_APGD: 100 * np.flatnonzero(breaks) / max(len(examples), 1)}


def broken_by_square(
    model: Classifier, images: Images, evidence: Evidence, count: int
) -> tuple[int, Rankings]:
    """How many random candidates were taken, and the places of those that Square breaks."""
    examples, margins = candidates_of(model, images, evidence)
    chosen = np.sort(np.random.default_rng(0).permutation(len(examples))[:count])
    examples, margins = take(examples, torch.from_numpy(chosen)), margins[chosen]
    plan, n = evidence.header.plan, len(examples)
    queried, broken = torch.full((n,), float("-inf")), torch.zeros(n, dtype=torch.bool)

    def first(retired: Retired) -> None:
        lost = retired.outcome == int(Outcome.BROKEN)
        queried[retired.rows] = torch.where(lost, float("inf"), retired.closest)

    def whole(retired: Retired) -> None:
        broken[retired.rows] = retired.outcome == int(Outcome.BROKEN)

    engine = Engine(model, model, plan.threat, slots=BATCH, device=torch.device("cpu"))
    engine.run(beginning_of(SCOUT_MORE, plan).of("square", plan), examples, first)
    engine.run(ATTACKS["square"](plan), examples, whole)
    both = np.maximum(margins, queried.double().numpy())
    return n, {
        by: 100 * np.flatnonzero(broken.numpy()[np.argsort(-score, kind="stable")]) / n
        for by, score in ((BY_APGD, margins), ("these and Square's", both))
    }


def main() -> None:
    """The table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cases", nargs="+", metavar="MODEL:EVIDENCE")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--dataset", help="where the evidence's data set is a file")
    parser.add_argument(
        "--square", type=int, metavar="COUNT", help="whom Square breaks, of so many candidates"
    )
    options = parser.parse_args()
    shares = (0.5, 0.9, 1.0)
    heads = [
        "checkpoint",
        "ranked by",
        "candidates",
        "of these break",
        *(f"{100 * share:.0f} % among the nearest" for share in shares),
    ]
    print(f"| {' | '.join(heads)} |\n{'|---' * len(heads)}|")
    for text in options.cases:
        path, _, file = text.rpartition(":")
        with EvidenceFile.open(Path(file)) as opened:
            evidence = opened.read()
        name = options.dataset or evidence.header.data["name"]
        every, plan = load_images(name, data_dir=options.data_dir, seed=0), evidence.header.plan
        model = load_classifier(path, images=every)
        images = every.subset(plan.limit, plan.seed)
        count, rankings = (
            broken_by_square(model, images, evidence, options.square)
            if options.square
            else places(model, images, evidence)
        )
        for by, found in rankings.items():
            cells = [f"{np.quantile(found, share):.1f} %" if len(found) else "–" for share in shares]
            print(f"| {Path(path).stem} | {by} | {count} | {len(found)} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
