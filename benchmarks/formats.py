"""One network as state dict, TorchScript, `.pt2` and ONNX: what an audit of each costs.

    python benchmarks/formats.py CHECKPOINT --dataset cifar10 --data-dir DIR [--limit 64] [--rounds 3] [--attacks LIST]

CHECKPOINT is loaded as `check` loads it, saved in the other formats, and each file audited in turn with a tenth of the
usual budget, by all attacks unless a list is given, its normalisation named. Counted are seconds of the processor in
the audit itself, which another process on the machine changes little; `times` is the median of the rounds' ratios to
the state dict. Outcomes must be the same for every example.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from robaudit.audit import audit
from robaudit.inputs import Classifier, Images, load_classifier, load_images
from robaudit.plan import STANDARD_ATTACKS, AuditPlan, ThreatModel, parse_fraction


def save_torchscript(network: nn.Module, x: torch.Tensor, path: Path) -> None:
    """A traced archive."""
    torch.jit.save(torch.jit.trace(network, x), str(path))


def save_exported(network: nn.Module, x: torch.Tensor, path: Path) -> None:
    """What `torch.export` makes."""
    torch.export.save(torch.export.export(network, (x,)), path)


def save_onnx(network: nn.Module, x: torch.Tensor, path: Path) -> None:
    """By torch's exporter that needs no further package."""
    torch.onnx.export(network, (x,), str(path), dynamo=False)


FORMATS: dict[str, tuple[str, Callable[[nn.Module, torch.Tensor, Path], None]]] = {
    "TorchScript": ("pt", save_torchscript),
    ".pt2": ("pt2", save_exported),
    "ONNX": ("onnx", save_onnx),
}


def measured(classifier: Classifier, images: Images, plan: AuditPlan) -> tuple[float, str]:
    """Seconds of the processor that an audit takes, and its accuracies."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.process_time()
        found = audit(classifier, images, plan, path=Path(folder) / "a.evidence")
        spent = time.process_time() - began
        answers = [(name, attack.outcome.tolist()) for name, attack in sorted(found.attacks.items())]
    return spent, str(answers)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("checkpoint")
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--eps", default="1/255")
    parser.add_argument("--limit", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--attacks", default=",".join(STANDARD_ATTACKS))
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    images = load_images(options.dataset, data_dir=options.data_dir)
    own = load_classifier(options.checkpoint, images=images)
    images = images.subset(options.limit, 0)
    tenth = {"apgd_steps": 30, "targets": 3, "fab_steps": 30, "square_queries": 500}
    threat = ThreatModel("Linf", parse_fraction(options.eps))
    plan = AuditPlan.from_flags(threat, attacks=options.attacks, examples="all", limit=options.limit, **tenth)
    models = {"state dict": own}
    with tempfile.TemporaryDirectory() as folder:
        for name, (ending, save) in FORMATS.items():
            path = Path(folder) / f"network.{ending}"
            save(own.network, images.float(slice(0, 1)), path)
            models[name] = load_classifier(str(path), images=images, normalise=own.info.normalisation)
    seconds: dict[str, list[float]] = {name: [] for name in models}
    answers: dict[str, str] = {}
    for _ in range(options.rounds):
        for name, model in models.items():
            spent, answers[name] = measured(model, images, plan)
            seconds[name].append(spent)
    print("| format | seconds | times | same outcomes |\n|---|---|---|---|")
    for name, found in seconds.items():
        ratio = statistics.median(
            mine / first for mine, first in zip(found, seconds["state dict"], strict=True)
        )
        same = "yes" if answers[name] == answers["state dict"] else "no"
        print(f"| {name} | {statistics.median(found):.1f} | {ratio:.2f} | {same} |")


if __name__ == "__main__":
    main()
