"""Two parts of `speed`: the share of the device's peak, and the trainer's step in every form against others'."""

from __future__ import annotations

import contextlib
import io
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, get_args

import torch
from machine import engine_rate, matrix_product
from torch.utils.flop_counter import FlopCounterMode
from trades_step import EPS, STEP, STEPS, Step, ours, plain, toolbox

from gpu_stages.calls import Call
from robaudit.devices import synchronize
from robaudit.fast.precision import arithmetic
from robaudit.inputs import build_architecture
from robaudit.training import Inner, TrainSettings
from robaudit.training.network import Shape
from robaudit.training.settings import TrainExecution

#: Searches whose share of the peak is measured, and what the matrix product beside them computes in.
SEARCHES: dict[str, torch.dtype] = {"bf16": torch.bfloat16, "tf32": torch.float32, "fp32": torch.float32}
#: The trainer's step, in every form that it has, then others' at the same budget.
FORMS: tuple[str, ...] = ("eager", "graphs", "auto", "published loop", "ART", "compile")
#: An epoch of CIFAR-100's 50,000 images without those held out, in the batches of the paper.
EPOCH, BATCH = 49_000, 256
#: A step's passes in forward passes of the batch: the clean logits, ten gradients by the input, and two passes
#: forwards and back to inputs and weights.
_PASSES = 1 + STEPS * 2 + 2 * 3


@dataclass(frozen=True)
class Load:
    """How much is computed: the network, the matrix product's side, examples and steps of APGD, batch and rounds."""

    arch: str = "resnet18"
    side: int = 8192
    examples: int = 4096
    steps: int = 20
    batch: int = BATCH
    rounds: int = 10


DRY = Load("sequential:conv4k3s2p1 relu flatten fcK", 64, 8, 2, 4, 1)


def forms() -> tuple[str, ...]:
    """Those of `FORMS` that this version's trainer takes, and the others'."""
    known = get_args(TrainExecution)
    return tuple(form for form in FORMS if form in known or form in ("published loop", "ART"))


def flops(arch: str) -> float:
    """Floating-point operations of one example's forward pass at CIFAR's size."""
    network = build_architecture(arch, classes=100).eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(torch.rand(1, 3, 32, 32))
    return float(counter.get_total_flops())


def peak(call: Call, load: Load, precision: str) -> dict[str, Any]:
    """TFLOP/s of APGD-CE's search, against a large matrix product before and after it."""
    kind, device = SEARCHES[precision], call.device

    def product() -> float:
        with arithmetic(tf32=precision == "tf32"):
            return matrix_product(kind, load.side, device) / 1e3

    torch.empty(1, device=device)  # the switches of a device that nobody has used yet mean nothing
    before = product()
    rate = engine_rate(
        name=load.arch,
        attack="apgd-ce",
        count=load.examples,
        steps=load.steps,
        workers=None,
        precision=precision,
        device=device,
    )
    best = (before + product()) / 2
    # A gradient by the input costs another forward pass.
    reached = 2 * flops(load.arch) * rate / 1e12
    return {"reached": reached, "peak": best, "examples": load.examples, "arch": load.arch}


def step(call: Call, load: Load, form: str) -> dict[str, Any]:
    """Seconds of a step of TRADES in one form: of the first, which prepares it, and the median of the others."""
    shape = Shape(100, (3, 32, 32))
    generator = torch.Generator().manual_seed(call.seed)
    x = torch.rand(load.batch, *shape.image, generator=generator).to(call.device)
    y = torch.randint(shape.classes, (load.batch,), generator=generator).to(call.device)
    make: Callable[[], Step | None]
    if form == "published loop":
        make = lambda: plain(build_architecture(load.arch, classes=100), str(call.device))  # noqa: E731
    elif form == "ART":
        make = lambda: toolbox(build_architecture(load.arch, classes=100), shape)  # noqa: E731
    else:
        settings = TrainSettings(
            "cifar100", Inner(EPS, STEP, STEPS), batch_size=load.batch, arch=load.arch,
            device=str(call.device), execution=form,  # type: ignore[arg-type]
        )  # fmt: skip
        make = lambda: ours(settings, shape)  # noqa: E731
    run = make()
    if run is None:
        return {"done": False, "why": "ART is not installed"}
    times = []
    for _ in range(load.rounds + 2):
        synchronize(call.device)
        began = time.perf_counter()
        with contextlib.redirect_stderr(io.StringIO()):  # ART draws a bar
            run(x, y)
        synchronize(call.device)
        times.append(time.perf_counter() - began)
    middle = statistics.median(times[2:])
    return {
        "done": True,
        "first": times[0],
        "seconds": middle,
        "batch": load.batch,
        "reached": load.batch * _PASSES * flops(load.arch) / middle / 1e12,
    }
