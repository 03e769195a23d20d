#!/usr/bin/env python3
"""The landscape's numbers on published and shipped checkpoints, as a Markdown page on standard output.

    python benchmarks/landscapes.py [MODELS_DIR --data-dir DATA_DIR] [--images 16]

Without MODELS_DIR the two shipped checkpoints alone.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from importlib import resources
from pathlib import Path

from robaudit.audit import survey
from robaudit.inputs import load_classifier, load_images
from robaudit.plan import ThreatModel, parse_fraction

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


def row(path: Path, dataset: str, eps: str, kind: str, data_dir: Path | None, count: int) -> str:
    images = load_images(dataset, data_dir=data_dir, seed=0)
    classifier = load_classifier(str(path), images=images)
    few = replace(images, pixels=images.pixels[:count], labels=images.labels[:count], ids=images.ids[:count])
    started = time.perf_counter()
    found = survey(classifier, few, ThreatModel("Linf", parse_fraction(eps))).numbers()
    seconds = time.perf_counter() - started
    numbers = (found[name] for name in ("roughness", "falling", "nonlinearity", "no_gradient"))
    cells = " | ".join(f"{value:.3g}" for value in numbers)
    return f"| {path.name} | {kind} | {eps} | {cells} | {100 * found['computed']:.0f} % | {seconds:.0f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models_dir", nargs="?", type=Path)
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--images", type=int, default=16)
    options = parser.parse_args()
    assets = Path(str(resources.files("robaudit") / "assets"))
    print("# Landscapes\n")
    print("`python benchmarks/landscapes.py MODELS_DIR --data-dir DATA_DIR`: the numbers of")
    print(f"[loss landscapes](../landscape.md), 51 × 51 points, mean of {options.images} images, Linf.\n")
    titles = "roughness | falling steps | linearity error | no gradient | computed | seconds"
    print(f"| checkpoint | kind | eps | {titles} |")
    print("|---|---|---|---:|---:|---:|---:|---:|---:|")
    entries = [(assets, item) for item in SHIPPED]
    if options.models_dir:
        entries += [(options.models_dir, item) for item in PUBLISHED]
    for folder, (name, dataset, eps, kind) in entries:
        print(row(folder / name, dataset, eps, kind, options.data_dir, options.images), flush=True)


if __name__ == "__main__":
    main()
