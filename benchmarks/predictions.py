"""How near to a break came those that break late? What `--within` spends more of its short attacks on.

    python benchmarks/predictions.py MODEL.pth:FULL.evidence [...] --data-dir DIR

FULL.evidence is an audit with `--examples all`, as `within.py` leaves them under --work, or one with `--attacks
autoattack`. The short attacks that `--within` makes on every example are made once more; of the candidates that they
leave those that break later are ranked by the largest margin that they met. Prints Markdown.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from robaudit.attacks import Examples, Retired, forward
from robaudit.attacks.state import take
from robaudit.audit.beginnings import beginning_of
from robaudit.engine import Engine
from robaudit.evidence import SCOUT_TARGETED, SCOUT_WIDE, Evidence, EvidenceFile, Outcome
from robaudit.inputs import Classifier, Images, load_classifier, load_images

BATCH = 500


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


def places(model: Classifier, images: Images, evidence: Evidence) -> tuple[int, NDArray[np.float64]]:
    """How many candidates there are, and the places of those that break, in percent from the nearest."""
    x, right = images.float(), torch.from_numpy(evidence.correct)
    logits = torch.cat([forward(model, part) for part in x.split(BATCH)])
    examples = take(Examples(x, images.labels, images.ids, logits), right.nonzero().squeeze(1))
    margins = largest_margins(model, examples, evidence)
    left = np.isfinite(margins)
    breaks = evidence.broken("autoattack")[evidence.correct][left][np.argsort(-margins[left], kind="stable")]
    return int(left.sum()), 100 * np.flatnonzero(breaks) / max(left.sum(), 1)


def main() -> None:
    """The table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cases", nargs="+", metavar="MODEL:EVIDENCE")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--dataset", help="where the evidence's data set is a file")
    options = parser.parse_args()
    shares = (0.5, 0.9, 1.0)
    heads = [
        "checkpoint",
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
        count, found = places(model, every.subset(plan.limit, plan.seed), evidence)
        cells = [f"{np.quantile(found, share):.1f} %" if len(found) else "–" for share in shares]
        print("| " + " | ".join([Path(path).stem, str(count), str(len(found)), *cells]) + " |", flush=True)


if __name__ == "__main__":
    main()
