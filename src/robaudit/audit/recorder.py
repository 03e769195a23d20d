"""From retired slots to rows on disk: witnesses in their smallest form that still fools the model, and metrics."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from robaudit.attacks import PGDState, Retired, forward
from robaudit.attacks.objectives import Model
from robaudit.audit.progress import Progress
from robaudit.devices import in_parts
from robaudit.engine import clearly_misclassified
from robaudit.evidence import (
    WITNESS_LEVELS,
    EvidenceFile,
    MetricsRow,
    Outcome,
    OutcomeRow,
    decode_witness,
    encode_image,
    encode_witness,
)
from robaudit.fast import strict_arithmetic
from robaudit.inputs import Images
from robaudit.measures import fosc, sgcs
from robaudit.plan import AuditPlan

#: Rows are written once there are this many, or this many seconds have gone by since the last time.
_WAITING_ROWS, _WAITING_SECONDS = 128, 2.0
_JUDGED_AT_ONCE = 256


@dataclass(frozen=True)
class _Broken:
    """One break that waits for its witness to be coded; `unbroken` is the name it is kept under if it is none."""

    row: OutcomeRow
    place: int
    witness: NDArray[np.float32]
    unbroken: str


class Recorder:
    """Collects what one attack gives and writes it down in groups, each one transaction."""

    def __init__(
        self,
        file: EvidenceFile,
        images: Images,
        correct: torch.Tensor,
        plan: AuditPlan,
        strict: Model,
        device: torch.device,
        progress: Progress,
    ):
        self._file, self._images, self._correct, self._plan = file, images, correct, plan
        self._strict, self._device, self._progress = strict, device, progress
        self._rows: list[OutcomeRow] = []
        self._broken: list[_Broken] = []
        self._metrics: list[MetricsRow] = []
        self._written = time.monotonic()

    def add(self, attack: str, places: torch.Tensor, retired: Retired, unbroken: str) -> None:
        """Take over retired examples; `places` maps the attack's rows to places in the images.

        Those that are not broken are kept under the name `unbroken`.
        """
        here = places[retired.rows]
        ids = self._images.ids[here].tolist()
        if isinstance(retired.state, PGDState):
            self._metrics += self._measure(retired.state, ids)
        broken = 0
        forwards, backwards = self._plan.eot * retired.forwards, self._plan.eot * retired.backwards
        counts = (retired.outcome, retired.steps, forwards, backwards)
        for k, (key, outcome, *cost) in enumerate(zip(ids, *(c.tolist() for c in counts), strict=True)):
            # A misclassified example is walked through PGD-10 for its metrics only.
            kept = Outcome(outcome) if self._correct[here[k]] else Outcome.NOT_RUN
            name = attack if kept == Outcome.BROKEN else unbroken
            row = OutcomeRow(name, key, kept, *cost)
            if row.outcome == Outcome.BROKEN:
                broken += 1
                self._broken.append(_Broken(row, int(here[k]), retired.witness[k].numpy(), unbroken))
            else:
                self._rows.append(row)
        passes = int((forwards + backwards).sum())
        self._progress.advance(attack, len(ids), broken, passes)
        waiting = len(self._rows) + len(self._broken)
        if waiting >= _WAITING_ROWS or time.monotonic() - self._written > _WAITING_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write what waits."""
        rows, broken, metrics = self._rows, self._broken, self._metrics
        self._rows, self._broken, self._metrics = [], [], []
        try:
            rows = rows + self._code(broken)
        except Exception:  # the accelerator may have failed; what does not need it is kept
            whole = {row.id for row in rows}
            metrics = [item for item in metrics if item.id in whole]
            raise
        finally:
            if rows or metrics:
                self._file.add_outcomes(rows, metrics)
        self._written = time.monotonic()

    def _measure(self, state: PGDState, ids: list[int]) -> list[MetricsRow]:
        threat, steps = self._plan.threat, self._plan.budget.pgd_steps
        last = fosc(state.gradient, state.candidate, state.x, threat.norm, threat.eps)
        similar = sgcs(state.direction_sum, state.directions, steps)
        at_last = state.gradient.flatten(1).abs().amax(1) == 0
        zeros = steps - state.directions + at_last
        columns = (last.raw.tolist(), last.normalised.tolist(), similar.tolist(), zeros.tolist())
        return [MetricsRow(*row) for row in zip(ids, *columns, strict=True)]

    def _judge(self, points: torch.Tensor, labels: torch.Tensor) -> tuple[list[bool], list[int]]:
        """Which of `points` (n, C, H, W) the strict model misclassifies, and the class that it gives each."""

        def answers(rows: torch.Tensor) -> torch.Tensor:
            with strict_arithmetic():
                return forward(self._strict, points[rows].to(self._device)).cpu()

        logits = torch.cat(in_parts(answers, torch.arange(len(points)), _JUDGED_AT_ONCE))
        return clearly_misclassified(logits, labels).tolist(), logits.argmax(1).tolist()

    def _code(self, waiting: list[_Broken]) -> list[OutcomeRow]:
        """Each witness at the coarsest level that the strict model still misclassifies once decoded."""
        done: list[OutcomeRow] = []
        threat = self._plan.threat
        for level in WITNESS_LEVELS:
            if not waiting:
                break
            places = torch.tensor([item.place for item in waiting])
            clean = self._images.float(places).numpy()
            blobs = [
                encode_witness(item.witness, x, threat, level) for item, x in zip(waiting, clean, strict=True)
            ]
            decoded = np.stack(
                [decode_witness(blob, x, threat) for blob, x in zip(blobs, clean, strict=True)]
            )
            labels = self._images.labels[places]
            fools, answers = self._judge(torch.from_numpy(decoded), labels)
            for item, blob, good, answer in zip(waiting, blobs, fools, answers, strict=True):
                if good:
                    image = encode_image(self._images.pixels[item.place].numpy())
                    done.append(replace(item.row, witness=blob, image=image, prediction=answer))
            waiting = [item for item, good in zip(waiting, fools, strict=True) if not good]
        # Misclassified a moment ago, and with the very same input not any more: neither robust nor broken.
        return done + [replace(item.row, attack=item.unbroken, outcome=Outcome.NONFINITE) for item in waiting]
