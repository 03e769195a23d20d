"""The stage `collapse`: TRADES on CIFAR-100 until it is masked, then healed from the last healthy weights on."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from gpu_stages import runs, weights
from gpu_stages.calls import Call
from gpu_stages.collapse_table import collapse_table
from gpu_stages.deadline import Deadline
from gpu_stages.results import Results
from gpu_stages.runs import BEST, HEALTHY, LAST, Following, Row, log_of
from gpu_stages.states import pack_state, unpack_state
from robaudit.devices import describe
from robaudit.errors import RobauditError
from robaudit.inputs import Images, load_classifier, load_images
from robaudit.training import Inner, TrainSettings
from robaudit.training.schedules import learning_rate
from robaudit.training.settings import Heal

UNSTABLE = "unstable"
ARMS: tuple[Heal, ...] = ("paper", "auto")
#: The weights before and after the epoch that was masked; those of an earlier, better one.
HEALTHY_WEIGHTS, MASKED_WEIGHTS, BEST_WEIGHTS = "healthy.weights", "masked.weights", "unstable.weights"
#: Seconds between two savings of a run's state, which takes a second or two.
_SAVE_EVERY = 90.0


@dataclass(frozen=True)
class Sizes:
    """The run, as in the paper's Table 2; `pretend` is the epoch that a dry run takes for masked."""

    settings: TrainSettings
    arm_epochs: int = 10
    pretend: int | None = None


def sizes_of(call: Call) -> Sizes:
    """The whole run, with what the flags change, or a tiny one."""
    whole = TrainSettings(
        "cifar100", Inner(), epochs=200, batch_size=128, lr=0.1, beta=1.0, arch="resnet18",
        augment="crop-flip", validation=1000, batch_metrics=20, seed=call.seed, device=str(call.device),
        save_every=1e9, execution=call.execution, select="pgd10",
    )  # fmt: skip
    changes = dict(call.changes)
    if eps := changes.pop("eps", None):
        changes["inner"] = Inner(eps, eps / 4)
    whole = replace(whole, **changes)
    if not call.dry_run:
        return Sizes(whole)
    tiny = replace(
        whole, inner=replace(whole.inner, steps=2), epochs=4, batch_size=16, lr=0.02, limit=128, validation=8,
        arch="sequential:conv4k3s2p1 relu flatten fcK", batch_metrics=4,
    )  # fmt: skip
    return Sizes(tiny, arm_epochs=2, pretend=2)


def collapse(call: Call) -> None:
    """An unstable run until an epoch is confirmed masked; then ten epochs of each healer: does it end?"""
    sizes = sizes_of(call)
    settings = sizes.settings
    images = load_images("cifar100", data_dir=call.data(cifar100=("train",)), split="train", seed=call.seed)
    if settings.limit:
        images = images.subset(settings.limit + settings.validation, call.seed)
    names = ("arch", "beta", "batch_size", "lr", "schedule", "epochs", "limit", "validation")
    facts = {name: getattr(settings, name) for name in names} | {"eps": settings.inner.eps}
    results, deadline = call.open("collapse", facts | {"data": images.sha256})
    stage = Stage(call, sizes, images, results, deadline)
    try:
        if not results.parts.get(UNSTABLE, {}).get("ended"):
            stage.hunt()
        if results.parts[UNSTABLE].get("healthy_epoch"):
            stage.heal_all()
    finally:
        results.say(collapse_table(results.parts))


@dataclass
class Stage:
    """The stage under way; `hunted` where this call made the unstable run go on."""

    call: Call
    sizes: Sizes
    images: Images
    results: Results
    deadline: Deadline
    hunted: bool = False
    saved: float = field(default_factory=time.monotonic)

    def hunt(self) -> None:
        """Train until an epoch is confirmed masked, the epochs are over, or the time."""
        settings, pretend, self.hunted = self.sizes.settings, self.sizes.pretend, True
        with self._run(UNSTABLE, settings, exact=True) as following:
            following.looked_for = lambda row: bool(row["masked"]) or row["epoch"] == pretend
            how = runs.train_until(settings, self.images, following)
            rows = log_of(following.folder)
            masked = rows[-1]["epoch"] if how == "found" else None
            self._note(following.folder, ended=how != "over", masked_epoch=masked)
            if masked:
                self._keep_unstable(following.folder, rows)

    def _keep_unstable(self, folder: Path, rows: list[Row]) -> None:
        """The weights of the run that was masked in the last of `rows`."""
        self.results.drop(f"{UNSTABLE}.state")
        healthy = rows[-2]["epoch"] if len(rows) > 1 else None
        best = rows[-1]["best"]
        self.results.parts[UNSTABLE] |= {"healthy_epoch": healthy, "best_epoch": best}
        if healthy:
            self._keep(HEALTHY_WEIGHTS, folder / HEALTHY)
        self._keep(MASKED_WEIGHTS, folder / LAST)
        if best not in (healthy, rows[-1]["epoch"]) and (folder / BEST).exists():
            self._keep(BEST_WEIGHTS, folder / BEST)
        self.results.write()

    def heal_all(self) -> None:
        """One healer after the other, as far as the time goes."""
        for arm in ARMS:
            if self.results.parts.get(arm, {}).get("ended"):
                continue
            if not self.deadline.allows("epoch"):
                return
            self.heal(arm)
            if not self.results.parts[arm]["ended"]:
                return

    def heal(self, arm: Heal) -> None:
        """Ten epochs of one healer, from the last healthy weights on."""
        start, before = None, self.results.parts.get(arm, {})
        digest = before.get("start_from", "")
        data = self.results.held(HEALTHY_WEIGHTS)
        if data is not None:
            path = self.call.scratch / HEALTHY
            weights.unpack_file(data, path)
            start, digest = load_classifier(str(path), force=True), hashlib.sha256(data).hexdigest()
        elif self.results.held(f"{arm}.state") is None:
            raise RobauditError(
                f"{self.results.folder / HEALTHY_WEIGHTS}: is missing; put it there from the call that wrote it"
            )
        whole, masked = self.sizes.settings, self.results.parts[UNSTABLE]["masked_epoch"]
        settings = replace(
            whole, heal=arm, epochs=self.sizes.arm_epochs, start_from=digest, schedule="constant",
            lr=learning_rate(whole, masked - 1, 0, 1), select="pgd10" if arm == "paper" else "robust",
        )  # fmt: skip
        with self._run(arm, settings, exact=False) as following:
            how = runs.train_until(settings, self.images, following, start)
            self._note(following.folder, ended=how == "done", start_from=digest)
            if how == "done":
                self._keep_healed(following.folder)

    def _keep_healed(self, folder: Path) -> None:
        """The best weights of a healer's run, the last where none was fit to be the best."""
        self.results.drop(f"{folder.name}.state")
        self.results.drop(f"{folder.name}.best.weights")
        there = (folder / BEST).exists()
        self.results.parts[folder.name]["weights_of"] = "best epoch" if there else "last epoch"
        self._keep(f"{folder.name}.weights", folder / (BEST if there else LAST))
        self.results.write()

    @contextmanager
    def _run(self, name: str, settings: TrainSettings, *, exact: bool) -> Iterator[Following]:
        """A run as an earlier call left it; what is unfinished at the end is kept for a later one."""
        folder = self.call.scratch / name
        folder.mkdir(parents=True, exist_ok=True)
        state, best = self.results.held(f"{name}.state"), self.results.held(f"{name}.best.weights")
        if state is not None:
            unpack_state(state, folder, best_kept=best is not None)
            runs.put_back(settings, self.images, folder)
            if best is not None:
                weights.unpack_file(best, folder / BEST)

        def after(row: Row) -> None:
            self._note(folder, ended=False)
            if time.monotonic() - self.saved > _SAVE_EVERY:
                self._save(folder, exact=exact)

        try:
            yield Following(folder, self.deadline, lambda row: False, after)
        finally:
            if not self.results.parts.get(name, {}).get("ended"):
                self._save(folder, exact=exact)

    def _note(self, folder: Path, **more: Any) -> None:
        """The run's logs, and what else is known of it."""
        part = self.results.parts.get(folder.name, {})
        logs = {"rows": log_of(folder), "batches": log_of(folder, "batches.jsonl")}
        facts = {"on": describe(self.call.device), "torch": torch.__version__}
        self.results.put(folder.name, part | logs | facts | more)

    def _save(self, folder: Path, *, exact: bool) -> None:
        """The state of an unfinished run, and its best weights so far where there is room."""
        self.saved = time.monotonic()
        state = pack_state(folder, exact=exact)
        if state is None:
            return
        name = folder.name
        self.results.drop(f"{name}.best.weights")
        self._make_room(
            f"{name}.state", state, spare=(BEST_WEIGHTS, HEALTHY_WEIGHTS) if name == ARMS[-1] else ()
        )
        if (folder / BEST).exists():
            self.results.keep(f"{name}.best.weights", weights.pack_file(folder / BEST, half=True))
        self.results.write()

    def _keep(self, name: str, path: Path) -> None:
        """Weights in 16 bits."""
        self._make_room(name, weights.pack_file(path, half=True), self._spare(name.partition(".")[0]))

    def _spare(self, run: str) -> tuple[str, ...]:
        """What may give way to a run's files: what no part needs any more, and what an earlier call has given back."""
        spare = [BEST_WEIGHTS]
        if run == ARMS[-1]:
            spare.append(HEALTHY_WEIGHTS)
        if run in ARMS and not self.hunted:
            spare.append(MASKED_WEIGHTS)
        return tuple(spare)

    def _make_room(self, name: str, data: bytes, spare: tuple[str, ...]) -> None:
        for other in (None, *spare):
            if other and other != name and self.results.held(other) is not None:
                self.results.drop(other)
                self.results.left_out[other] = f"no room beside {name}; earlier results may hold it"
            if self.results.keep(name, data):
                return
