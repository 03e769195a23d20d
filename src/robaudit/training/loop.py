"""The run: epochs of steps, a measurement after each, the healer's say, and everything on disk in time."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from robaudit.devices import failures_explained, out_of_memory
from robaudit.errors import RobauditError
from robaudit.fast import resolve_execution
from robaudit.inputs import Classifier, Images
from robaudit.ranks import Ranks, joined
from robaudit.training import checkpoints
from robaudit.training.data import TrainData, hold_out
from robaudit.training.healer import Judged, make_healer
from robaudit.training.network import Shape, new_network, save, shrink_logits
from robaudit.training.progress import Silent, TrainProgress
from robaudit.training.schedules import learning_rate
from robaudit.training.settings import TrainSettings
from robaudit.training.sgd import SGD
from robaudit.training.stepping import NotFiniteError, Stepper, StepSpec
from robaudit.training.synchronising import with_whole_batch_norm
from robaudit.training.tally import Tally
from robaudit.training.validation import GAP, Validation
from robaudit.training.watch import Watch

Row = dict[str, Any]
#: The attributes of a run that a resumed one takes over as they are.
KEPT = ("epoch", "step", "rows", "best", "seconds", "treated", "treated_before", "healthy")

_RENAMED = {"taken_back": "rolled_back"}


def train(
    settings: TrainSettings,
    images: Images,
    folder: Path,
    *,
    start: Classifier | None = None,
    progress: TrainProgress | None = None,
) -> list[Row]:
    """Train, or resume the unfinished run in `folder`, and return the log, one row an epoch.

    Args:
        settings: the whole run.
        images: the training split; `settings.validation` of them are held out.
        folder: gets the log, `best.safetensors`, `last.safetensors` and `resume.pt`; made where it is missing.
        start: weights to begin with instead of fresh ones; `settings.arch` must be its architecture.
        progress: told of everything.

    Raises:
        RobauditError: the folder holds another run or cannot be written, or the loss was not finite.

    """
    device = torch.device(settings.device)
    kept = "the finished epochs are kept; the same command with --device cpu resumes from there"
    with failures_explained(device, kept), joined() as ranks:
        try:
            return Run(settings, images, folder, ranks, start, progress or Silent()).run()
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            raise RobauditError(
                f"batch-size {settings.batch_size}: memory does not hold the data and a step; pass a smaller one"
            ) from error


class Run:
    """One run under way: what must be remembered from one step to the next."""

    def __init__(
        self,
        settings: TrainSettings,
        images: Images,
        folder: Path,
        ranks: Ranks,
        start: Classifier | None,
        progress: TrainProgress,
    ) -> None:
        self.settings, self.folder, self.ranks, self.progress = settings, folder, ranks, progress
        self.shape = Shape(images.classes, images.shape)
        self.device = torch.device(settings.device)
        resolve_execution(settings.execution, self.device)  # before anything is written
        train_images, held = hold_out(images, settings.validation, settings.seed)
        self.data = TrainData(train_images, self.device, settings.augment, settings.seed)
        self.validation = Validation(held, settings, self.shape, ranks)
        self.digest = images.sha256
        self.steps = len(self.data) // settings.batch_size
        if not self.steps:
            raise RobauditError(
                f"batch-size {settings.batch_size}: only {len(self.data)} examples to train on; pass a smaller one"
            )
        self.network = new_network(settings, self.shape)
        if start is not None:
            self.network.network.load_state_dict(start.network.state_dict())
            factor = shrink_logits(self.network, held.float(slice(0, 64)).to(self.device))
            if factor < 1:
                progress.note(
                    f"the last layer is scaled by {factor:.3g}: its logits were too large to train from"
                )
        with_whole_batch_norm(self.network, ranks)
        self.optimiser = SGD(self.network, settings.momentum, settings.weight_decay)
        self.stepper = Stepper(self.network, self.optimiser, settings, ranks)
        self.watch, self.healer = Watch(), make_healer(settings, self.steps)
        self.treated = self.treated_before = 0
        self.fit = True
        self.epoch, self.step = 0, 0
        self.tally = Tally()
        self.rows: list[Row] = []
        self.best = -1.0
        self.healthy: dict[str, Any] | None = None
        self.seconds = 0.0

    def run(self) -> list[Row]:
        """All epochs that are not done yet."""
        self._resume()
        while self.epoch < self.settings.epochs:
            self._epoch()
        return self.rows

    # One epoch -------------------------------------------------------------------------------------------------

    def _epoch(self) -> None:
        order = self.data.order(self.epoch)
        self.progress.begin_epoch(self.epoch + 1, self.settings.epochs, self.steps, self.step)
        began = saved = time.monotonic()
        while self.step < self.steps:
            self._one_step(order)
            if time.monotonic() - saved > self.settings.save_every and self.step < self.steps:
                self.seconds += time.monotonic() - began
                self._save_state()
                began = saved = time.monotonic()
        row = self._finish(time.monotonic() - began)
        self.rows.append(row)
        self.epoch, self.step, self.seconds = self.epoch + 1, 0, 0.0
        self.tally.next_epoch()
        self._write(row)
        self.progress.end_epoch(row)

    def _one_step(self, order: torch.Tensor) -> None:
        s = self.settings
        rate = learning_rate(s, self.epoch, self.step, self.steps)
        rows = order[self.step * s.batch_size : (self.step + 1) * s.batch_size]
        batch = self.data.batch(self.ranks.share(rows), self.epoch)
        number = self.epoch * self.steps + self.step
        norms = bool(s.batch_metrics) and number % s.batch_metrics == 0
        treatment = self.healer.treatment()
        how = StepSpec(number, len(rows), rate, s.beta, s.method, treatment.noise, norms)
        result = self.stepper.step(batch, how)
        if not result.finite:
            raise NotFiniteError(self.epoch, self.step, self.folder / checkpoints.LAST)
        self.tally.add(result)
        if norms:
            self.tally.add_batch(result, number, self.epoch + 1)
        self.step += 1
        self.treated += bool(treatment.noise)
        alarm = self.healer.on_batch(result.mean("fosc"), result.mean("sgcs"))
        if alarm:
            self.progress.note(f"epoch {self.epoch + 1}, step {self.step}: healing begins; {alarm}")
        self.progress.step(result)

    def _finish(self, seconds: float) -> Row:
        """Measure the epoch, let the healer act on it, and make its row."""
        measured = self.validation.measure(self.network)
        gaps: list[float] = []

        def confirm() -> tuple[bool, str]:
            gaps.append(self.validation.gap(self.network))
            return gaps[0] >= GAP, f"Square leaves {100 * gaps[0]:.1f} points less than PGD-10"

        reading = self.watch.observe(measured.fosc_normalised, measured.sgcs, confirm)
        judged = Judged(reading, measured.fosc)
        back = self.healer.on_epoch(judged)
        if reading.masked:
            self.progress.note(f"epoch {self.epoch + 1}: masked; {reading.reason}")
        rolled_back = {}
        if back and self.healthy is not None:
            # What the epoch ends with, and what is logged of it, are the last healthy weights.
            found = asdict(measured) | {"black_box_gap": gaps[0]}
            rolled_back = {f"{name}_before": value for name, value in found.items()}
            self._put(self.healthy)
            measured, gaps = self.validation.measure(self.network), self.healthy["gaps"]
        elif not reading.masked and self.settings.heal == "auto":
            self.healthy = self._taken() | {"gaps": gaps}
        self.fit = self.healer.acceptable(judged) or bool(rolled_back)
        row: Row = {"epoch": self.epoch + 1, **asdict(measured)} | self.tally.row(self.epoch + 1)
        row["lr"] = learning_rate(self.settings, self.epoch, 0, self.steps)
        row["black_box_gap"] = gaps[0] if gaps else None
        row |= {"masked": reading.masked and not rolled_back, "reason": reading.reason}
        row |= {"healing": self.treated, "rolled_back": bool(rolled_back), **rolled_back}
        row["healed_itself"] = reading.recovered and not self.treated and not self.treated_before
        row["seconds"] = round(self.seconds + seconds, 3)
        self.treated, self.treated_before = 0, self.treated
        return row

    def _taken(self) -> dict[str, Any]:
        """A copy of the weights and of the optimiser."""
        network = {name: tensor.clone() for name, tensor in self.network.state_dict().items()}
        return {"network": network, "optimiser": self.optimiser.state()}

    def _put(self, taken: dict[str, Any]) -> None:
        self.network.load_state_dict(taken["network"])
        self.optimiser.load(taken["optimiser"])

    # Disk ------------------------------------------------------------------------------------------------------

    def _write(self, row: Row) -> None:
        """The epoch's files: the weights first, then the state that counts the epoch as done, then the log."""
        if self.ranks.first:
            save(self.network, self.folder / checkpoints.LAST, self.settings, self.shape, row)
            if self.fit and row["pgd10"] > self.best:
                self.best = row["pgd10"]
                save(self.network, self.folder / checkpoints.BEST, self.settings, self.shape, row)
        self._save_state()
        if self.ranks.first:
            self._write_logs()

    def _write_logs(self) -> None:
        checkpoints.write_log(self.folder, self.rows)
        if self.tally.batches:
            checkpoints.write_log(self.folder, self.tally.batches, checkpoints.BATCHES)

    def _save_state(self) -> None:
        if not self.ranks.first:
            return
        state = {
            **{name: getattr(self, name) for name in KEPT},
            **self._taken(),
            **self.tally.state(),
            "watch": self.watch.state(),
            "healer": self.healer.state(),
        }
        checkpoints.save_state(self.folder, self.settings, self.digest, state)

    def _resume(self) -> None:
        if self.ranks.first:
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise RobauditError(
                    f"{self.folder}: cannot be created ({error.strerror}); choose another --out"
                ) from error
        state = self.ranks.agree(checkpoints.load_state(self.folder, self.settings, self.digest))
        if state is None:
            return
        self._put(state)
        for name in KEPT:
            setattr(self, name, state[name])
        # What older versions called otherwise.
        self.rows = [{_RENAMED.get(key, key): value for key, value in row.items()} for row in self.rows]
        self.tally.load(state)
        self.watch.load(state["watch"])
        self.healer.load(state["healer"])
        if self.ranks.first:
            self._write_logs()
        self.progress.note(f"resumed after epoch {self.epoch}, step {self.step}")
