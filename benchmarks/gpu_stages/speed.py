"""The stage `speed`: the device's peak, whole AutoAttack against the reference, and the trainer's step."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from vs_reference import Result, by_ours, by_pyautoattack

from gpu_stages import rates, runs, weights
from gpu_stages.calls import Call
from gpu_stages.deadline import Deadline, TimeIsUp
from gpu_stages.results import Results
from gpu_stages.runs import LAST, Following
from gpu_stages.speed_table import speed_table
from robaudit.attacks import Examples, forward
from robaudit.devices import describe
from robaudit.errors import RobauditError
from robaudit.inputs import Classifier, Images, file_sha256, load_classifier, load_images
from robaudit.plan import AuditPlan, Budget, ThreatModel
from robaudit.training import Inner, TrainSettings

WEIGHTS = "resnet18.weights"
#: The whole test set, which times are extrapolated to.
ALL = 10_000


@dataclass(frozen=True)
class Sizes:
    """Correctly classified examples that both tools attack, test images at most, seconds of training, and the loads."""

    both: int = 250
    images: int = ALL
    training: float = 45.0
    limit: int = 20_000
    batch: int = 256
    inner: Inner = field(default_factory=Inner)
    budget: Budget = field(default_factory=Budget)
    load: rates.Load = field(default_factory=rates.Load)
    validation: int = 1000


DRY = Sizes(
    both=4,
    images=32,
    training=0.0,
    limit=16,
    batch=8,
    inner=Inner(steps=1),
    budget=Budget(apgd_steps=2, fab_steps=2, targets=2, square_queries=5),
    load=rates.DRY,
    validation=8,
)


def speed(call: Call) -> None:
    """Share of the peak, whole AutoAttack against `pyautoattack`, the trainer's step against the published loop."""
    sizes = DRY if call.dry_run else Sizes()
    if call.model and not call.model.is_file():
        raise RobauditError(f"{call.model}: no such file; pass a checkpoint of CIFAR-100")
    folder = call.data(cifar100=("test",) if call.model else ("train", "test"))
    images = load_images("cifar100", data_dir=folder, limit=sizes.images, seed=call.seed)
    facts = {
        "model": file_sha256(call.model) if call.model else "trained here",
        "images": len(images),
        "data": images.sha256,
        "device": describe(call.device),  # times of two cards do not compare
    }
    results, deadline = call.open("speed", facts)
    stage = Stage(call, sizes, images, folder, results, deadline)
    searches = [name for name in rates.SEARCHES if name != "tf32" or call.device.type == "cuda"]
    forms = [name for name in rates.forms() if name != "graphs" or call.device.type == "cuda"]
    if call.dry_run:
        forms.remove("compile")  # which takes most of a minute for any network
    parts: list[tuple[str, float, Callable[[], Any]]] = [
        (f"peak {name}", 5, partial(rates.peak, call, sizes.load, name)) for name in searches
    ]
    parts.append(("model", sizes.training + 10, stage.make_model))
    parts.append(("ours", 15, partial(stage.attacked, by_ours, sizes.both)))
    parts += [
        (f"step {form}", 5, partial(rates.step, call, sizes.load, form))
        for form in forms
        if form != "compile"
    ]
    parts.append(("reference", 60, stage.reference))
    parts.append(("ours on more", 0, stage.on_more))
    if "compile" in forms:
        parts.append(("step compile", 120, partial(rates.step, call, sizes.load, "compile")))
    try:
        for name, guess, run in parts:
            if name not in results.parts:
                if not deadline.allows(name, 0 if call.dry_run else guess):
                    print(f"{name}: left to a later call, {deadline.left():.0f} s are too few")
                    continue
                results.attempt(name, run)
    except TimeIsUp:
        print("the time is over: a later call with the same --out resumes it")
    results.say(speed_table(describe(call.device), results.parts))


@dataclass(frozen=True)
class Stage:
    """The stage under way."""

    call: Call
    sizes: Sizes
    images: Images
    folder: Path
    results: Results
    deadline: Deadline

    def make_model(self) -> dict[str, Any]:
        """A ResNet-18 that TRADES trained for about a minute; nothing where one was given."""
        if self.call.model:
            return {"model": str(self.call.model)}
        sizes = self.sizes
        settings = TrainSettings(
            "cifar100", sizes.inner, epochs=200, batch_size=sizes.batch, beta=6.0, arch=sizes.load.arch,
            augment="crop-flip", limit=sizes.limit, validation=sizes.validation, seed=self.call.seed,
            device=str(self.call.device), execution=self.call.execution, save_every=1e9,
        )  # fmt: skip
        images = load_images(
            "cifar100", data_dir=self.folder, split="train", limit=sizes.limit + sizes.validation,
            seed=self.call.seed,
        )  # fmt: skip
        folder = self.call.scratch / "robust"
        ends = time.monotonic() + sizes.training
        following = Following(folder, self.deadline, lambda row: time.monotonic() > ends, lambda row: None)
        runs.train_until(settings, images, following)
        rows = runs.log_of(folder)
        if not rows:
            raise TimeIsUp
        self.results.keep(WEIGHTS, weights.pack_file(folder / LAST, half=True))
        return {"epochs": len(rows), "clean": rows[-1]["clean"], "pgd10": rows[-1]["pgd10"]}

    def classifier(self) -> Classifier:
        """The model that is attacked."""
        path = self.call.model or self.call.scratch / "robust.safetensors"
        if not self.call.model:
            data = self.results.held(WEIGHTS)
            if data is None:
                raise RobauditError(f"{WEIGHTS}: is missing; the part `model` makes it, or pass --model")
            weights.unpack_file(data, path)
        return load_classifier(str(path), images=self.images.subset(256, 0), force=True)

    def examples(self, classifier: Classifier, count: int) -> tuple[Examples, int]:
        """At most `count` correctly classified examples, and among how many of the test images they are the first."""
        strict = classifier.to(self.call.device)
        found: list[Examples] = []
        seen = have = 0
        for rows in torch.arange(len(self.images)).split(256):
            x, y = self.images.float(rows), self.images.labels[rows]
            logits = forward(strict, x.to(self.call.device)).cpu()
            right = (logits.argmax(1) == y).nonzero().squeeze(1)[: count - have]
            if self.call.dry_run and not len(right):  # a network that has learned nothing
                right, y = torch.arange(len(y))[: count - have], logits.argmax(1)
            found.append(Examples(x[right], y[right], self.images.ids[rows][right], logits[right]))
            have += len(right)
            if have >= count:
                seen += int(right[-1]) + 1
                break
            seen += len(rows)
        parts = [torch.cat(each) for each in zip(*((e.x, e.y, e.ids, e.logits) for e in found), strict=True)]
        return Examples(*parts), seen

    def attacked(self, tool: Callable[..., Result], count: int) -> dict[str, Any]:
        """Whole AutoAttack by one tool on the first correctly classified examples."""
        classifier = self.classifier()
        examples, seen = self.examples(classifier, count)
        plan = AuditPlan(
            ThreatModel("Linf", 8 / 255), seed=self.call.seed, examples="all", budget=self.sizes.budget
        )
        found = tool(classifier, examples, plan, self.call.device)
        return vars(found) | {"attacked": len(examples), "images": seen}

    def reference(self) -> dict[str, Any]:
        """The reference on the same examples, where it is installed."""
        if importlib.util.find_spec("pyautoattack") is None:
            return {"done": False, "why": "pyautoattack is not installed"}
        return self.attacked(by_pyautoattack, self.sizes.both)

    def on_more(self) -> dict[str, Any]:
        """Ours on as many more as fit, the whole test set at most; larger batches are faster."""
        first = self.results.parts.get("ours")
        if first is None:
            raise RobauditError("ours on more: the part `ours` comes first")
        each = first["seconds"] / first["attacked"]
        count = min(int(0.6 * self.deadline.left() / each), len(self.images))
        if count <= first["attacked"]:
            raise TimeIsUp
        return self.attacked(by_ours, count)
