#!/usr/bin/env python3
"""The landscape's numbers on published and shipped checkpoints, as a Markdown page on standard output.

    python benchmarks/landscapes.py [MODELS_DIR --data-dir DATA_DIR] [--zoo ZOO --work DIR] [--images 16]

Without MODELS_DIR the two shipped checkpoints alone. With a zoo (examples/zoo/build.py) also its models, and how well
each number tells those whose measured truth (benchmarks/zoo.py, in DIR) is overestimated from the others.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from importlib import resources
from pathlib import Path

from zoo import OVER, Case, load, zoo_cases

from robaudit.audit import measure_landscape
from robaudit.inputs import Classifier, Images, load_classifier, load_images
from robaudit.plan import ThreatModel, parse_fraction

TITLES = {
    "roughness": "roughness",
    "falling": "falling steps",
    "nonlinearity": "linearity error",
    "no_gradient": "no gradient",
}
NUMBERS = tuple(TITLES)
SHIPPED = (
    ("digits_adversarial.safetensors", "digits", "0.1", "adversarially trained"),
    ("digits_distilled.safetensors", "digits", "0.1", "defensively distilled: masked"),
)
PUBLISHED = (
    ("cifar10_cnn6_pgd.pth", "cifar10", "8/255", "PGD-trained"),
    ("cifar10_cnn_a_adv.model", "cifar10", "2/255", "adversarially trained"),
    ("cifar10_resnet2b.pth", "cifar10", "2/255", "adversarially trained"),
    ("cifar100_resnet20_adv.pth", "cifar100", "0.013", "adversarially trained"),
    ("cifar10_lenet_masked.pth", "cifar10", "8/255", "masked"),
    ("cifar10_resnet20_plain.pth", "cifar10", "8/255", "not adversarially trained"),
)


def row(name: str, kind: str, eps: float, numbers: dict[str, float], seconds: float) -> str:
    """One line of the table."""
    cells = " | ".join(f"{numbers[key]:.3g}" for key in NUMBERS)
    return f"| {name} | {kind} | {eps:.3g} | {cells} | {100 * numbers['computed']:.0f} % | {seconds:.0f} |"


def measure(classifier: Classifier, images: Images, eps: float, count: int) -> tuple[dict[str, float], float]:
    """The numbers of the mean of the first images, and the seconds they took."""
    few = replace(images, pixels=images.pixels[:count], labels=images.labels[:count], ids=images.ids[:count])
    started = time.perf_counter()
    return measure_landscape(
        classifier, few, ThreatModel("Linf", eps)
    ).numbers(), time.perf_counter() - started


def of_zoo(options: argparse.Namespace) -> None:
    """The zoo's rows, then the share of pairs (overestimated, not) that each number puts in order."""
    found: dict[bool, list[dict[str, float]]] = {True: [], False: []}
    for case in zoo_cases(options.zoo):
        over = known_overestimated(case, options.work)
        if over is None or case.kind == "randomised":
            continue
        classifier, images = load(case, options, None)
        numbers, seconds = measure(classifier, images, case.eps, options.images)
        found[over].append(numbers)
        kind = "overestimated" if over else "not overestimated"
        print(row(case.name, kind, case.eps, numbers, seconds), flush=True)
    print()
    for key in NUMBERS:
        pairs = [(a[key] > b[key]) + 0.5 * (a[key] == b[key]) for a in found[True] for b in found[False]]
        share = 100 * sum(pairs) / len(pairs)
        print(f"- {TITLES[key]}: larger where overestimated in {share:.0f} % of {len(pairs)} pairs")


def known_overestimated(case: Case, work: Path) -> bool | None:
    """The measured truth of a model of the zoo; None where there is none."""
    for part in ("truth", "check"):
        place = work / f"{case.name}.{part}.json"
        if place.exists() and "gap" in (found := json.loads(place.read_text(encoding="utf-8"))):
            return any(found["gap"][name]["value"] >= bound for name, bound in OVER.items())
    return None


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models_dir", nargs="?", type=Path)
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--zoo", type=Path)
    parser.add_argument("--work", type=Path, help="what benchmarks/zoo.py measured")
    parser.add_argument("--images", type=int, default=16)
    options = parser.parse_args()
    if options.zoo and not options.work:
        parser.error("--zoo needs --work, where benchmarks/zoo.py left the truth")
    assets = Path(str(resources.files("robaudit") / "assets"))
    print("# Landscapes\n")
    print(
        "`python benchmarks/landscapes.py MODELS_DIR --data-dir DATA_DIR --zoo ZOO --work DIR`: the numbers of"
    )
    print(f"[loss landscapes](../landscape.md), 51 × 51 points, mean of {options.images} images, Linf.\n")
    print(f"| checkpoint | kind | eps | {' | '.join(TITLES.values())} | computed | seconds |")
    print("|---|---|---|---:|---:|---:|---:|---:|---:|")
    entries = [(assets, item) for item in SHIPPED]
    if options.models_dir:
        entries += [(options.models_dir, item) for item in PUBLISHED]
    for folder, (name, dataset, eps, kind) in entries:
        images = load_images(dataset, data_dir=options.data_dir, seed=0)
        classifier = load_classifier(str(folder / name), images=images)
        numbers, seconds = measure(classifier, images, parse_fraction(eps), options.images)
        print(row(name, kind, parse_fraction(eps), numbers, seconds), flush=True)
    if options.zoo:
        of_zoo(options)


if __name__ == "__main__":
    main()
