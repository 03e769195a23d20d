"""Two parts of `right`: a search whose memory runs out, and a landscape in time."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gpu_stages.calls import Call
from robaudit.attacks import ATTACKS, Examples, forward
from robaudit.audit import Window, measure_landscape
from robaudit.devices import synchronize
from robaudit.engine import Engine
from robaudit.evidence import Outcome
from robaudit.fast import search_model
from robaudit.inputs import build_architecture, load_classifier, make_images, save_classifier
from robaudit.plan import AuditPlan, ThreatModel

_EPS = 8 / 255
#: Examples, the slots that fit, and how many times what those take is allowed.
_EXAMPLES, _SLOTS, _ROOM = 2048, 32, 2.5
_MEMORY_EPS, _ARCH = 0.5 / 255, "resnet18"


def network_of(arch: str, classes: int, seed: int) -> nn.Module:
    """A network with fresh weights that the seed fixes."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build_architecture(arch, classes=classes).eval()


def can_be_limited(device: torch.device) -> bool:
    """Whether a process can be given less of the device's memory than there is."""
    return device.type == "cuda"


def memory(device: torch.device, seed: int) -> dict[str, Any]:
    """PGD-10 with far more slots than memory holds, against few: the same outcomes, and how often memory ran out."""
    if not can_be_limited(device):
        return {"done": False, "why": "only CUDA's memory can be limited; run where there is a CUDA device"}
    network = network_of(_ARCH, 10, seed).to(device)
    x = torch.rand(_EXAMPLES, 3, 32, 32, generator=torch.Generator().manual_seed(seed))
    logits = torch.cat([forward(network, part.to(device)).cpu() for part in x.split(_SLOTS)])
    examples = Examples(x, logits.argmax(1), torch.arange(_EXAMPLES), logits)
    index = torch.cuda.current_device() if device.index is None else device.index
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(index)
    few = _outcomes(network, examples, device, _SLOTS, seed)
    allowed = int(_ROOM * torch.cuda.max_memory_reserved(index))
    torch.cuda.empty_cache()
    before = torch.cuda.memory_stats(index)["num_ooms"]
    torch.cuda.set_per_process_memory_fraction(
        min(1.0, allowed / torch.cuda.get_device_properties(index).total_memory), index
    )
    try:
        many = _outcomes(network, examples, device, _EXAMPLES, seed)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, index)
        torch.cuda.empty_cache()
    return {
        "done": True,
        "allowed_mb": allowed / 1e6,
        "ran_out": torch.cuda.memory_stats(index)["num_ooms"] - before,
        "equal": float((few == many).float().mean()),
        "examples": _EXAMPLES,
    }


def _outcomes(network: nn.Module, examples: Examples, device: torch.device, slots: int, seed: int) -> Tensor:
    plan = AuditPlan(ThreatModel("Linf", _MEMORY_EPS), seed=seed)
    search = search_model(network, device, "fp32", examples.x[:8])
    found = torch.full((len(examples),), int(Outcome.NOT_RUN))
    engine = Engine(search, network, plan.threat, slots, device)
    engine.run(ATTACKS["pgd10"](plan), examples, lambda r: found.__setitem__(r.rows, r.outcome))
    return found


def landscape(call: Call, points: int, count: int, arch: str) -> dict[str, Any]:
    """Seconds of whole surfaces around some images, computed at every point; twice, the first warms up."""
    path = Path(call.scratch) / "landscape.safetensors"
    network = network_of(arch, 100, call.seed)
    save_classifier(network, path, architecture=arch, classes=100, input_shape=(3, 32, 32))
    generator = torch.Generator().manual_seed(call.seed)
    pixels = torch.randint(256, (count, 3, 32, 32), generator=generator, dtype=torch.uint8)
    labels = torch.randint(100, (count,), generator=generator)
    images = make_images(pixels, labels, name="random", split="test", classes=100)
    seconds = []
    for _ in range(2):
        began = time.perf_counter()
        measure_landscape(
            load_classifier(str(path)), images, ThreatModel("Linf", _EPS),
            window=Window(points, exact=True), seed=call.seed, device=str(call.device),
        )  # fmt: skip
        synchronize(call.device)
        seconds.append(time.perf_counter() - began)
    return {"arch": arch, "points": points, "images": count, "seconds": seconds}
