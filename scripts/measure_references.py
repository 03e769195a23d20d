#!/usr/bin/env python3
"""Measure `src/robaudit/assets/references.json`: how PGD-10 converges on models whose robustness is not overestimated.

    python scripts/measure_references.py MODELS_DIR DATA_DIR

MODELS_DIR holds the published checkpoints named below, DATA_DIR the data sets. PGD-10's FOSC and SGCS are taken on
256 test images of each, and kept as counts in the bins that the HTML report draws.
"""

from __future__ import annotations

import json
import sys
import tempfile
from importlib import resources
from pathlib import Path
from typing import Any

from robaudit.audit import audit
from robaudit.inputs import load_classifier, load_images
from robaudit.plan import AuditPlan, ThreatModel, parse_fraction
from robaudit.reports.figures import METRICS, counts

EXAMPLES = 256
MODELS = (
    ("cifar10_cnn6_pgd.pth", "cifar10", "8/255"),
    ("cifar10_cnn_a_adv.model", "cifar10", "2/255"),
    ("cifar10_resnet2b.pth", "cifar10", "2/255"),
    ("cifar100_resnet20_adv.pth", "cifar100", "0.013"),
)
SHIPPED = ("digits_adversarial.safetensors", "digits", "0.1")


def measure(path: Path, dataset: str, eps: str, data_dir: Path) -> dict[str, Any]:
    """One model's counts."""
    images = load_images(dataset, data_dir=data_dir, limit=EXAMPLES)
    plan = AuditPlan(
        ThreatModel("Linf", parse_fraction(eps)), attacks=("pgd10",), examples="all", limit=EXAMPLES
    )
    with tempfile.TemporaryDirectory() as folder:
        evidence = audit(load_classifier(str(path), images=images), images, plan, path=Path(folder) / "e")
    return {
        "model": path.name,
        "sha256": evidence.header.model["sha256"],
        "data": dataset,
        "eps": eps,
        "examples": len(evidence),
        **{name: counts(getattr(evidence, name), name).astype(int).tolist() for name in METRICS},
    }


def main(models_dir: str, data_dir: str) -> None:
    """Measure every model and write the file."""
    assets = Path(str(resources.files("robaudit") / "assets"))
    found = [measure(assets / SHIPPED[0], *SHIPPED[1:], Path(data_dir))]
    found += [measure(Path(models_dir) / name, dataset, eps, Path(data_dir)) for name, dataset, eps in MODELS]
    text = json.dumps({"made by": "scripts/measure_references.py", "models": found}, indent=1)
    (assets / "references.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
