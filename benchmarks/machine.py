"""How much of the machine the engine uses, how its cost grows, and what it keeps in memory and on disk.

    python benchmarks/machine.py --data-dir DIR [--only peak,growth,workers,processes,memory] [--precision fp32]

Prints a Markdown table. Wants an idle machine. Nothing here breaks an example (the radius is 1e-6) but in `memory`,
so that every budget is used up and the work is known.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from robaudit.attacks import ATTACKS, Examples, forward
from robaudit.devices import has_bf16, synchronize
from robaudit.engine import Engine, tune
from robaudit.fast import search_model
from robaudit.inputs import build_architecture, save_classifier
from robaudit.plan import AuditPlan, Budget, ThreatModel

THREAT = ThreatModel("Linf", 1e-6)
CPU = torch.device("cpu")


def engine_rate(
    name: str,
    attack: str,
    count: int,
    steps: int,
    workers: int | None = None,
    precision: str = "auto",
    device: torch.device = CPU,
) -> float:
    """Steps of one example a second, with `workers` (by default as the audit chooses).

    Elsewhere than on the CPU a short run comes first, in which passes are recorded.

    Args:
        name: an architecture, with fresh weights.
        attack: by its name.
        count: examples, random ones.
        steps: of the attack on each.
        workers: threads that share them.
        precision: of the search.
        device: where to search.

    """
    torch.manual_seed(0)
    network = build_architecture(name, classes=10).to(device).eval()
    x = torch.rand(count, 3, 32, 32)
    search = search_model(network, device, precision, x[:8])
    logits = torch.cat([forward(search, part.to(device)).cpu() for part in x.split(256)])
    examples = Examples(x, logits.argmax(1), torch.arange(count), logits)
    tuning = tune(search, x[:1].to(device), side_by_side=True)
    before = torch.get_num_threads()
    torch.set_num_threads(1 if workers else tuning.threads or before)
    engine = Engine(search, network, THREAT, tuning.slots, device, workers or tuning.workers)
    for budget in [steps] if device.type == "cpu" else [2, steps]:
        plan = AuditPlan(THREAT, budget=Budget(apgd_steps=budget, square_queries=budget))
        done: list[int] = []
        synchronize(device)
        started = time.perf_counter()
        engine.run(ATTACKS[attack](plan), examples, lambda r, into=done: into.append(int(r.steps.sum())))  # type: ignore[misc]
        seconds = time.perf_counter() - started
    torch.set_num_threads(before)
    return sum(done) / seconds


def peak(precision: str) -> list[tuple[str, str]]:
    """Floating-point operations of ResNet-18 under APGD, against a large matrix product just before and after.

    Both in bf16 where `precision` comes to that.
    """
    half = precision == "bf16" or (precision == "auto" and has_bf16(torch.device("cpu")))
    kind = torch.bfloat16 if half else torch.float32
    network = build_architecture("resnet18", classes=10).eval().requires_grad_(False)
    x = torch.rand(1, 3, 32, 32, requires_grad=True)
    with FlopCounterMode(display=False) as counter:
        network(x).sum().backward()
    before = matrix_product(kind)
    rate = engine_rate("resnet18", "apgd-ce", 128, 5, precision=precision)
    reached = rate * counter.get_total_flops() / 1e9
    best = (before + matrix_product(kind)) / 2
    return [
        (f"ResNet-18 under APGD-CE, {kind}, GFLOP/s", f"{reached:.0f}"),
        (f"4096 x 4096 matrix product, {kind}, GFLOP/s", f"{best:.0f}"),
        ("share of it", f"{100 * reached / best:.0f} %"),
    ]


def matrix_product(kind: torch.dtype, size: int = 4096, device: torch.device = CPU) -> float:
    """GFLOP/s of one, the best of several."""
    a, b = (torch.rand(size, size).to(kind).to(device) for _ in range(2))
    times = []
    for _ in range(4 if device.type == "cpu" else 20):
        synchronize(device)
        started = time.perf_counter()
        a @ b
        synchronize(device)
        times.append(time.perf_counter() - started)
    return 2 * size**3 / min(times[1:]) / 1e9


def growth() -> list[tuple[str, str]]:
    """The engine's cost of an example among 1,000 and among 10,000, ResNet-20, 8 steps of APGD-CE."""
    # The first is not counted: it also warms torch up.
    _, few, many = (engine_rate("resnet20", "apgd-ce", count, 8) for count in (1000, 1000, 10_000))
    return [("cost of an example among 10,000 over that among 1,000, ResNet-20", f"{few / many:.3f}")]


def workers() -> list[tuple[str, str]]:
    """Two workers on two cores against one on one."""
    found = []
    for name, attack, count, steps in (
        ("resnet20", "apgd-ce", 256, 20), ("resnet20", "square", 256, 40), ("resnet18", "apgd-ce", 64, 6),
    ):  # fmt: skip
        one, two = (engine_rate(name, attack, count, steps, number) for number in (1, 2))
        found.append((f"{name} {attack}: 2 workers over 1", f"{two / one:.2f} ({two:.0f} steps/s)"))
    return found


def audit(
    data_dir: Path | None, ranks: int, flags: str, name: str = "resnet20"
) -> tuple[dict[str, object], int, int]:
    """One audit of an untrained network by `ranks` processes; its report, peak memory (kB) and evidence (bytes)."""
    with tempfile.TemporaryDirectory() as folder:
        model, out, evidence = (Path(folder) / part for part in ("m.safetensors", "a.json", "a.evidence"))
        torch.manual_seed(0)
        network = build_architecture(name, classes=10)
        save_classifier(network, model, architecture=name, classes=10, input_shape=(3, 32, 32))
        command = [sys.executable, "-c", _PEAK, str(Path(folder) / "peak")]
        if ranks > 1:
            command = [
                sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}",
                "-m", "robaudit",
            ]  # fmt: skip
        command += [
            "check",
            str(model),
            "--dataset",
            "cifar10",
            "--force",
            "--examples",
            "all",
            *flags.split(),
        ]
        command += ["--json", str(out), "--evidence", str(evidence)]
        command += ["--data-dir", str(data_dir)] if data_dir else []
        environment = os.environ | ({"OMP_NUM_THREADS": "1"} if ranks else {})
        subprocess.run(command, env=environment, check=False, capture_output=True)
        kept = Path(folder) / "peak"
        peak = int(kept.read_text()) if kept.exists() else 0
        return json.loads(out.read_text()), peak, evidence.stat().st_size


_PEAK = """
import resource, sys
from pathlib import Path
from robaudit.cli import run
place = Path(sys.argv[1])
run(sys.argv[2:])
place.write_text(str(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss))
"""


def processes(data_dir: Path | None) -> list[tuple[str, str]]:
    """`torchrun` with two processes on two cores against one process on one core: the audits' own seconds."""
    flags = "--limit 3000 --eps 0.000001 --attacks pgd10,square --square-queries 120"
    one, two = (float(audit(data_dir, ranks, flags)[0]["cost"]["seconds"]) for ranks in (1, 2))  # type: ignore[index]
    return [("2 processes over 1, ResNet-20", f"{one / two:.2f} ({one:.0f} s and {two:.0f} s)")]


def memory(data_dir: Path | None) -> list[tuple[str, str]]:
    """10,000 CIFAR-10 images on a ResNet-18 that every attack breaks, at the smallest budgets."""
    flags = "--eps 8/255 --pgd-steps 1 --apgd-steps 2 --fab-steps 1 --targets 1 --square-queries 2"
    _, peak_kb, size = audit(data_dir, 0, flags, "resnet18")
    return [
        ("peak resident memory, ResNet-18, 10,000 images, MB", f"{peak_kb / 1024:.0f}"),
        ("evidence file of that audit, MB", f"{size / 1e6:.1f}"),
    ]


def main() -> None:
    """Measure what is asked for and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--only", default="peak,growth,workers,processes,memory")
    parser.add_argument("--precision", default="auto", choices=("auto", "bf16", "fp32"), help="of the peak")
    options = parser.parse_args()
    parts: dict[str, Callable[[], list[tuple[str, str]]]] = {
        "peak": lambda: peak(options.precision),
        "growth": growth,
        "workers": workers,
        "processes": lambda: processes(options.data_dir),
        "memory": lambda: memory(options.data_dir),
    }
    print("| measured | figure |\n|---|---|")
    unknown = set(options.only.split(",")) - parts.keys()
    if unknown:
        parser.error(f"--only {', '.join(sorted(unknown))}: use {', '.join(parts)}")
    for name in options.only.split(","):
        for what, figure in parts[name]():
            print(f"| {what} | {figure} |", flush=True)


if __name__ == "__main__":
    main()
