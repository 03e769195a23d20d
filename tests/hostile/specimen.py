"""A small evidence file with a row of every kind, made without a model."""

import numpy as np

from robaudit.evidence import (
    SCOUT,
    EvidenceFile,
    ExampleRow,
    Header,
    MetricsRow,
    Outcome,
    OutcomeRow,
    encode_image,
    encode_witness,
)
from robaudit.plan import AuditPlan, ThreatModel
from robaudit.verdict import finding

EXAMPLES = 40
THREAT = ThreatModel("Linf", 0.1)
MODEL = {
    "path": "models/m.pt", "sha256": "ab" * 32, "architecture": "resnet18", "normalisation": "none",
    "parameters": 9, "classes": 10, "notes": ["clean accuracy 90 % on 40 images"],
}  # fmt: skip
DATA = {
    "name": "digits", "split": "test", "n": EXAMPLES, "total": EXAMPLES, "sha256": "cd" * 32, "shape": [1, 8, 8],
    "classes": 10, "class_names": list("0123456789"),
}  # fmt: skip


def header(**changes):
    values = {
        "plan": AuditPlan(THREAT, attacks=("pgd10", "square", "apgd-ce")),
        "model": MODEL,
        "data": DATA,
        "versions": {"robaudit": "0.1.0", "torch": "2", "python": "3"},
        "device": "cpu",
        "findings": (finding("few-examples", "only 40 examples").to_dict(),),
        "probes": {"examples": 48.0, "noise": 0.5},
        "precision": "fp32",
        "finished": True,
    }
    return Header(**values | changes)


def make_evidence(path):
    """Write it; half of the examples are broken by Square and none by PGD-10."""
    draws = np.random.default_rng(0)
    pixels = draws.integers(40, 200, (EXAMPLES, 1, 8, 8), dtype=np.uint8)
    labels = draws.integers(0, 10, EXAMPLES).tolist()
    with EvidenceFile.create(path, header()) as file:
        file.add_examples(
            ExampleRow(k, 7 * k, labels[k], labels[k] if k % 8 else (labels[k] + 1) % 10)
            for k in range(EXAMPLES)
        )
        rows, metrics = [], []
        for k in range(EXAMPLES):
            metrics.append(MetricsRow(7 * k, 0.5, 0.25, 0.9, 2))
            kept = Outcome.ROBUST if k % 8 else Outcome.NOT_RUN
            rows += [OutcomeRow(name, 7 * k, kept, 11, 11, 11) for name in ("pgd10", "apgd-ce")]
            if k % 8 == 0:
                continue
            if k % 2:
                clean = pixels[k].astype(np.float32) / np.float32(255)
                moved = clean + np.where(draws.random(clean.shape) < 0.5, -0.1, 0.1).astype(np.float32)
                blob = encode_witness(moved, clean, THREAT, (1, 15, 127, 0)[k % 4] if k % 4 else 1)
                image = encode_image(pixels[k])
                rows.append(
                    OutcomeRow("square", 7 * k, Outcome.BROKEN, 5, 5, 0, blob, image, (labels[k] + 1) % 10)
                )
            else:
                rows += [OutcomeRow(name, 7 * k, Outcome.ROBUST, 5, 5, 0) for name in (SCOUT, "square")]
        file.add_outcomes(rows, metrics)
