"""The run: epochs of steps, a measurement after each, the healer's say, and everything on disk in time."""

from __future__ import annotations

import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch

from robaudit.fast import resolve_execution
from robaudit.inputs import Classifier, Images
from robaudit.ranks import Ranks
from robaudit.training.checkpoints import BEST, LAST, Folder
from robaudit.training.confirming import confirm, examples_for
from robaudit.training.data import TrainData, hold_out
from robaudit.training.healer import Judged, make_healer
from robaudit.training.judging import Judge
from robaudit.training.network import Shape, begin_from
from robaudit.training.progress import TrainProgress
from robaudit.training.remarks import Remarks, in_percent
from robaudit.training.resuming import check_state, check_values
from robaudit.training.retreat import Retreat
from robaudit.training.selection import Selection
from robaudit.training.settings import TrainSettings
from robaudit.training.state import TrainingState
from robaudit.training.stepping import NotFiniteError
from robaudit.training.threads import Threads
from robaudit.training.treatments import Treatment
from robaudit.training.trials import best_of, logged, summary, try_out, untreated
from robaudit.training.validation import GoesOn, Look, Validation

Row = dict[str, Any]
#: The attributes of a run that a resumed one takes over as they are, and those that have a state of their own.
KEPT = ("epoch", "step", "rows", "seconds", "treated_before", "healthy", "began_with")
STATEFUL = ("judge", "healer", "selection", "remarks")


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
        self.settings, self.ranks, self.progress = settings, ranks, progress
        self.shape, device = Shape(images.classes, images.shape), torch.device(settings.device)
        resolve_execution(settings.execution, device)  # before anything is written
        train_images, held = hold_out(images, settings.validation, settings.seed)
        data = TrainData(train_images, device, settings.augment, settings.seed)
        self.training = TrainingState(settings, self.shape, data, ranks)
        self.folder = Folder(folder, settings, images.sha256)
        self.validation = Validation(held, settings, self.shape, ranks)
        self.trained = len(data)
        confirmed = examples_for(settings, len(held), self.trained)
        self.remarks = Remarks(
            self.validation.labels, lr=settings.lr, steps=self.training.steps, confirmed=confirmed
        )
        for message in begin_from(self.network, start, held.float(slice(0, 64)).to(device)):
            progress.note(message)
        self.retreat = Retreat(self.training) if start is not None else None
        self.threads = Threads(settings.threads, device)
        self.judge, self.healer = Judge(), make_healer(settings)
        self.selection = Selection(settings.select)
        self.epoch, self.step = 0, 0
        self.treated_before, self.fit = 0, True
        self.rows: list[Row] = []
        self.began_with: Row = {}
        self.healthy: dict[str, Any] | None = None
        self.seconds = 0.0

    @property
    def network(self) -> Any:
        """In training."""
        return self.training.network

    def run(self, command: str = "") -> list[Row]:
        """All epochs that are not done yet."""
        with self.folder.held() if self.ranks.first else nullcontext():
            return self._run(command)

    def _run(self, command: str) -> list[Row]:
        self._resume()
        if self.ranks.first:
            self.folder.write_settings(command)
        for message in self.remarks.at_start():
            self.progress.note(message)
        with self.threads.held():
            self._look_at_start()
            while self.epoch < self.settings.epochs:
                self._epoch()
            self._confirm()
        return self.rows

    def _look_at_start(self) -> None:
        """What the run begins with is kept where no epoch is better."""
        if self.retreat is None or self.began_with:
            return
        look = self._look(self.selection.goes_on)
        self.began_with = {"epoch": 0, **look.row()}
        self.retreat.wanted = not look.at_chance
        if self.settings.select == "robust":
            self.selection.begin_with(look)
        if self.ranks.first and self.selection.standing is not None:
            self.folder.save_weights(self.network, self.shape, self.began_with, (BEST,))
        self._save_state()
        self.progress.note(f"begins with {in_percent(self.began_with)}")

    def _confirm(self) -> None:
        """Measure what is kept once more, with every attack of AutoAttack."""
        count = examples_for(self.settings, len(self.validation), self.trained)
        row = next((row for row in self.rows if row["epoch"] == self.selection.epoch), self.began_with)
        nothing = self.selection.standing is None
        if nothing or not self.ranks.first or self.folder.confirmed(row["epoch"], count):
            return
        found = {}
        if count:
            self.progress.note(f"AutoAttack on {count} held-out example{'s' * (count > 1)} of what is kept")
            best = self.folder.path / BEST
            found = confirm(self.validation, best, self.selection, count, self.settings.seed).row()
        self.folder.save_confirmed(self.shape, row, count, found)

    # One epoch -------------------------------------------------------------------------------------------------

    def _epoch(self) -> None:
        began = time.monotonic()
        self.threads.begin_epoch(self.training.passes)
        treatments = self.healer.trials()
        if treatments and self.healthy is not None:
            look, about = self._trials(treatments)
        else:
            began = self._steps(began)
            look, about = self._look(self.selection.goes_on), {}
        row = self._judge(look) | about
        row["seconds"] = round(self.seconds + time.monotonic() - began, 3)
        self.rows.append(row)
        self.epoch, self.step, self.seconds = self.epoch + 1, 0, 0.0
        retreated = self._write(row, look)
        self.progress.end_epoch(row)
        remarks = self.remarks.after(row)
        if retreated:
            self.remarks.started_again()
        for message in retreated or remarks:
            self.progress.note(message)

    def _steps(self, began: float, under: Treatment | None = None) -> float:
        """The epoch's steps that are left, under the healer's treatments or one that is tried; when it began."""
        order = self.training.order(self.epoch)
        self.progress.begin_epoch(self.epoch + 1, self.settings.epochs, self.training.steps, self.step)
        saved = time.monotonic()
        while self.step < self.training.steps:
            self._one_step(order, self.healer.treatment() if under is None else under)
            overdue = time.monotonic() - saved > self.settings.save_every and self.step < self.training.steps
            if overdue and under is None:
                self.seconds += time.monotonic() - began
                self._save_state()
                began = saved = time.monotonic()
        return began

    def _one_step(self, order: torch.Tensor, treatment: Treatment) -> None:
        began = time.perf_counter()
        result = self.training.step(order, self.epoch, self.step, treatment)
        if not result.finite:
            raise NotFiniteError(self.epoch, self.step, self.folder.path / LAST, self.settings)
        self.step += 1
        self.healer.on_batch()
        self.threads.step(time.perf_counter() - began, self.training.passes)
        self.progress.step(result)

    def _trials(self, treatments: tuple[Treatment, ...]) -> tuple[Look, Row]:
        """Make the epoch under each treatment, from the same draws, and continue with the best of them."""
        assert self.healthy is not None  # without healthy weights nothing is tried
        found = try_out(treatments, self.training, self.healthy, self._try)
        if not found:
            raise NotFiniteError(self.epoch, 0, self.folder.path / LAST, self.settings)
        best = best_of(found)
        self.training.load(best.state)
        self.healer.on_trials(best.treatment)
        self.selection.untreated = untreated(found)
        self.progress.note(f"epoch {self.epoch + 1}: {summary(best, found)}")
        return best.look, logged(best, found)

    def _try(self, treatment: Treatment) -> Look | None:
        """What the epoch is worth under a treatment; None where the loss is not finite."""
        self.step = 0
        try:
            self._steps(time.monotonic(), treatment)
        except NotFiniteError:
            return None
        return self._look(lambda *_: True)

    def _look(self, goes_on: GoesOn) -> Look:
        return self.validation.look(self.network, goes_on, self.selection.hard)

    def _judge(self, look: Look) -> Row:
        """The epoch's row, after the healer has seen it."""
        self.selection.observe(look)
        reading = self.judge.observe(look)
        judged = Judged(reading, look.measured.fosc)
        self.healer.on_epoch(judged)
        if reading.masked:
            still = bool(self.rows) and self.rows[-1]["masked"]
            self.progress.note(
                f"epoch {self.epoch + 1}: {'is still' if still else 'became'} masked; {reading.reason}"
            )
        elif self.settings.heal == "auto" and not look.at_chance:
            self.healthy = self.training.taken()
        if self.healer.treatment().changes and self.selection.below_untreated(look):
            self.healer.give_up()
            self.progress.note(f"epoch {self.epoch + 1}: worse than without treatment, which ends")
        training = self.training
        row: Row = {"epoch": self.epoch + 1, **look.row()} | training.tally.row(self.epoch + 1)
        row |= {"lr": training.rate(self.epoch), "masked": reading.masked, "weak": reading.weak}
        row |= {
            "rugged": reading.rugged,
            "reason": reading.reason,
            "healing": training.treated,
            "treatment": training.treatment,
        }
        row["rolled_back"] = False
        row["healed_itself"] = reading.recovered and not training.treated and not self.treated_before
        self.fit = self.healer.acceptable(judged)
        self.treated_before = training.treated
        training.next_epoch()
        return row

    # Disk ------------------------------------------------------------------------------------------------------

    def _write(self, row: Row, look: Look) -> list[str]:
        """The epoch's files: the weights first, then the state that counts the epoch as done, then the log.

        Between them the run may go back to its start; what is to be said of that.
        """
        best = self.fit and self.selection.is_best(look)
        if best:
            self.selection.take(look, row["epoch"])
        if self.fit:
            self.selection.meet(look)
        row["best"] = self.selection.epoch
        if self.ranks.first:
            self.folder.save_weights(self.network, self.shape, row, (LAST, BEST)[: 1 + best])
        over = self.epoch >= self.settings.epochs  # then there is no epoch to go back for
        message = self.retreat.after(look) if self.retreat and not over else ""
        self._save_state()
        self._write_logs()
        return [message] if message else []

    def _write_logs(self) -> None:
        if self.ranks.first:
            self.folder.write_logs(self.rows, self.training.tally.batches)

    def _state(self) -> dict[str, Any]:
        state = {name: getattr(self, name) for name in KEPT}
        state |= {name: getattr(self, name).state() for name in STATEFUL}
        state["retreat"] = self.retreat.state() if self.retreat else None
        return state | self.training.state()

    def _save_state(self) -> None:
        if self.ranks.first:
            self.folder.save_state(self._state())

    def _resume(self) -> None:
        state = self.ranks.agree(self.folder.load_state())
        if state is None:
            return
        with self.folder.resuming():
            state["remarks"] = self.remarks.completed(state.get("remarks"))
            check_state(state, self._state(), self.settings.epochs)
            check_values(state, self.training.steps)
            self.training.load(state)
            for name in KEPT:
                setattr(self, name, state[name])
            for name in STATEFUL:
                getattr(self, name).load(state[name])
            if self.retreat and state["retreat"]:
                self.retreat.load(state["retreat"])
        self._write_logs()
        if self.epoch >= self.settings.epochs:
            self.progress.note(f"all {self.epoch} epochs are done; to train anew choose another --out")
        else:
            self.progress.note(f"resumed after epoch {self.epoch}, step {self.step}")
