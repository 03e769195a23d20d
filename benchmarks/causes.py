"""What the probes and PGD-10's trajectory say of checkpoints whose truth is known: the thresholds' calibration.

    python benchmarks/causes.py cifar10:MODEL.pth:8/255:honest [...] --data-dir DIR --out docs/results/causes.md

Each argument is data set, checkpoint, radius and `honest`, `masked` or `undefended`. Numbers are shares in percent of
the first 48 correctly classified examples; SGCS, normalised FOSC and the local linearity error (in log K) are means
over those that PGD-10 leaves standing.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np

from robaudit.audit import audit
from robaudit.errors import RobauditError
from robaudit.inputs import Images, load_classifier, load_images
from robaudit.plan import AuditPlan, Budget, ThreatModel, parse_fraction
from robaudit.verdict import causes_of

COLUMNS = (
    "pgd10_x0.25", "pgd10", "pgd10_x2", "pgd10_x4", "fgsm", "noise", "unbounded", "only_fgsm", "only_noise",
    "only_pgd40", "only_starts", "other_norm", "saturated", "silent",
)  # fmt: skip


def main() -> None:
    """Probe every model and print (and with --out write) the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("cases", nargs="+", metavar="DATASET:MODEL:EPS:TRUTH")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--examples", type=int, default=128)
    parser.add_argument("--out", type=Path, help="append the table's rows to this Markdown file")
    options = parser.parse_args()
    print("| model | truth | " + " | ".join(COLUMNS) + " | SGCS | FOSC | linearity | findings |")
    print("|---" * (len(COLUMNS) + 6) + "|")
    for case in options.cases:
        dataset, path, eps, truth = case.split(":")
        images = load_images(dataset, data_dir=options.data_dir, limit=options.examples, seed=0)
        try:
            cells = measure(path, images, parse_fraction(eps))
        except RobauditError as error:
            cells = [str(error).splitlines()[0]]
        text = f"| {Path(path).name} {eps} | {truth} | " + " | ".join(cells) + " |\n"
        print(text, end="", flush=True)
        if options.out:
            with options.out.open("a", encoding="utf-8") as file:
                file.write(text)


def measure(path: str, images: Images, eps: float) -> list[str]:
    """The cells of one row."""
    plan = AuditPlan(
        ThreatModel("Linf", eps), attacks=("pgd10", "apgd-ce"), examples="all", budget=Budget(apgd_steps=1)
    )
    with tempfile.TemporaryDirectory() as folder:
        evidence = audit(
            load_classifier(path, images=images), images, plan, path=Path(folder) / "a", force=True
        )
    standing = evidence.survives("pgd10")
    means = [
        f"{np.nanmean(values[standing]):.2f}" if standing.any() else ""
        for values in (evidence.sgcs, evidence.fosc_normalised)
    ]
    shares = [f"{100 * evidence.header.probes[name]:.0f}" for name in COLUMNS]
    linearity = evidence.header.probes.get("linearity")
    means.append("" if linearity is None else f"{linearity:.2f}")
    return [*shares, *means, ", ".join(item.code for item in causes_of(evidence))]


if __name__ == "__main__":
    main()
