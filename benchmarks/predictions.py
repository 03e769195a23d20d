"""Would a prediction of who breaks make `--within` cheaper? Simulated on recorded outcomes.

    python benchmarks/predictions.py MODEL.pth:FULL.evidence [...] --data-dir DIR

FULL.evidence is an audit with `--examples all`, as `within.py` leaves them under --work. The short attacks of
`--within` are made once more, and the largest margin that they met says who is likeliest to break. Of `--total` such
examples (the recorded ones so many times over), whole attacks until the interval is narrow enough, medians of 20
orders: as `--within` draws; when those with the largest margins are attacked first, a share of the candidates, and the
rest is drawn from; and if all who break were known for nothing, which no prediction beats. Prints Markdown.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from coverage import draws_needed
from numpy.typing import NDArray

from robaudit.attacks import Examples, forward
from robaudit.attacks.objectives import margin
from robaudit.attacks.state import take
from robaudit.audit.beginnings import beginning_of
from robaudit.evidence import SCOUT_DEEP, SCOUT_WIDE, Evidence, EvidenceFile
from robaudit.inputs import Classifier, Images, load_classifier, load_images

BATCH, ORDERS = 500, 20
WITHIN = (0.01, 0.005)
#: Shares of the candidates that are attacked before any is drawn.
FIRST = (0.02, 0.05, 0.1)


@dataclass(frozen=True)
class Recorded:
    """The correctly classified examples of an audit: margins (n,) after some short attacks, and who survives (n,)."""

    margins: NDArray[np.float64]
    survives: NDArray[np.bool_]

    @property
    def candidates(self) -> NDArray[np.bool_]:
        """(n,) bool: not broken by the short attacks."""
        return np.asarray(self.margins <= 0)

    def ranked(self) -> NDArray[np.int64]:
        """1 for a candidate that survives, 0 for one that breaks, the largest margins first."""
        here = self.candidates
        return self.survives[here][np.argsort(-self.margins[here], kind="stable")].astype(np.int64)


def largest_margins(
    model: Classifier, examples: Examples, evidence: Evidence, scout: str
) -> NDArray[np.float64]:
    """(n,), over the steps of a beginning of APGD-T."""
    attack = beginning_of(scout, evidence.header.plan).of("apgd-t", evidence.header.plan)
    found = []
    for rows in torch.arange(len(examples)).split(BATCH):
        part = take(examples, rows)
        largest = torch.full((len(part),), float("-inf"))
        for run in range(attack.runs(examples.logits.shape[1])):
            state = attack.start(part, torch.full((len(part),), run))
            while not bool(state.finished.all()):
                state = attack.step(model, state)
                largest = torch.maximum(largest, margin(forward(model, state.candidate), part.y))
        found.append(largest)
    return torch.cat(found).double().numpy()


def recorded(model: Classifier, images: Images, evidence: Evidence) -> dict[str, Recorded]:
    """After the steps at three classes, and after more of them at the likeliest class as well."""
    x, right = images.float(), torch.from_numpy(evidence.correct)
    logits = torch.cat([forward(model, part) for part in x.split(BATCH)])
    examples = take(Examples(x, images.labels, images.ids, logits), right.nonzero().squeeze(1))
    survives = evidence.survives("autoattack")[evidence.correct]
    wide = largest_margins(model, examples, evidence, SCOUT_WIDE)
    deep = np.maximum(wide, largest_margins(model, examples, evidence, SCOUT_DEEP))
    return {
        "8 steps at 3 classes": Recorded(wide, survives),
        "and all steps at the first": Recorded(deep, survives),
    }


def whole_attacks(
    ranked: NDArray[np.int64], first: int, total: int, within: float, confidence: float
) -> float:
    """How many it takes if the first so many of `ranked` are attacked and the rest is drawn from."""
    rng = np.random.default_rng(0)
    needed = [
        draws_needed(rng.permutation(ranked[first:]), total, within, confidence)[1] for _ in range(ORDERS)
    ]
    return first + float(np.median(needed))


def rows_of(name: str, evidence: Evidence, after: dict[str, Recorded], total: int) -> list[str]:
    """The table's rows of one network."""
    times, confidence = total // len(evidence), evidence.header.plan.confidence
    lines = []
    for short, found in after.items():
        ranked = found.ranked()
        broken = np.flatnonzero(ranked == 0)
        place = f"{100 * (broken.mean() + 0.5) / len(ranked):.0f}" if len(broken) else "–"
        many = ranked.repeat(times)
        for within in WITHIN:
            firsts = (0, *(round(share * len(many)) for share in FIRST))
            costs = [
                whole_attacks(many, first, times * len(evidence), within, confidence) for first in firsts
            ]
            costs.append(whole_attacks(many[many == 1], 0, times * len(evidence), within, confidence))
            cells = (name, short, len(ranked), len(broken), place, f"± {100 * within:g}")
            lines.append("| " + " | ".join(map(str, (*cells, *(f"{cost:.0f}" for cost in costs)))) + " |")
    return lines


def main() -> None:
    """The table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cases", nargs="+", metavar="MODEL:EVIDENCE")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--total", type=int, default=10_000, help="examples that it is simulated for")
    options = parser.parse_args()
    heads = [
        "checkpoint",
        "short attacks",
        "candidates",
        "of these break",
        "their place by margin, % from the top",
    ]
    heads += ["within", "whole attacks", *(f"top {100 * share:g} % first" for share in FIRST), "all known"]
    print(f"| {' | '.join(heads)} |\n{'|---' * len(heads)}|")
    for text in options.cases:
        path, _, file = text.rpartition(":")
        with EvidenceFile.open(Path(file)) as opened:
            evidence = opened.read()
        every = load_images(evidence.header.data["name"], data_dir=options.data_dir, seed=0)
        plan = evidence.header.plan
        after = recorded(load_classifier(path, images=every), every.subset(plan.limit, plan.seed), evidence)
        print(*rows_of(Path(path).stem, evidence, after, options.total), sep="\n", flush=True)


if __name__ == "__main__":
    main()
