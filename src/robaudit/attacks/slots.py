"""The slots of one worker: a fixed number of examples under way, each at its own pace.

As soon as an example is broken, or its last run has used up its budget, its slot takes the next one, so
the batch is full until the queue is empty whatever share breaks early. Runs of one example (targets,
restarts) follow each other in the queue's order. A break counts only after the sealed candidate has been
misclassified by the strict float32 model.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from robaudit.attacks.objectives import Model, forward
from robaudit.attacks.precision import SearchModel, strict_arithmetic
from robaudit.attacks.state import Attack, Examples, Retired, join, put, take
from robaudit.attacks.tuning import out_of_memory
from robaudit.attacks.workers import Rows
from robaudit.errors import RobauditError
from robaudit.evidence import Outcome, seal
from robaudit.plan import ThreatModel

#: Below this share of the spread of the logits a margin is rounding, not a misclassification.
ROUNDING = 1e-5


def truly_misclassified(strict: Model, x: Tensor, y: Tensor, least: float = ROUNDING) -> Tensor:
    """(n,) bool: what the strict model says of inputs that already lie in the ball and in [0, 1].

    The lead over the true class must be at least `least` of the logits' spread.
    """
    with strict_arithmetic():
        logits = forward(strict, x)
    others = logits.scatter(1, y[:, None], float("-inf")).amax(1)
    lead = others - logits.gather(1, y[:, None]).squeeze(1)
    spread = logits.amax(1) - logits.amin(1)
    return logits.isfinite().all(1) & (lead > least * spread)


@dataclass(frozen=True)
class Task:
    """One attack on some examples.

    Args:
        attack: what to run.
        examples: each is attacked once.
        wanted: (n, runs) bool, the runs to make of each example; at least one.
        search, strict: from inputs in [0, 1] to logits; the model searched with and its float32 form.
        threat: the ball that witnesses are sealed in.
        device: where `search` lives and the slots are kept.

    """

    attack: Attack
    examples: Examples
    wanted: Tensor
    search: Model
    strict: Model
    threat: ThreatModel
    device: torch.device


class Slots:
    """One worker's part of a task: which example sits in which slot, and how far it is.

    Args:
        task: shared with the other workers.
        queue: of the task's examples, shared as well.
        width: slots in use.
        room: examples that a step may hold, where an attack looks ahead.

    """

    def __init__(self, task: Task, queue: Rows, width: int, room: int):
        self.task, self.attack, self.examples, self.queue = task, task.attack, task.examples, queue
        self.part, self.room = max(width, 1), room
        self.retire: Callable[[Retired], None]
        self.state: Any = None

    def go(self, retire: Callable[[Retired], None]) -> None:
        """Step until the queue is empty and every example has left."""
        self.retire = retire
        first = self.queue.pull(self.part)
        # Of each slot: the example's row, which of its runs this is, the steps of the runs before and of all, the
        # steps tried, its runs that came close, whether it is in use.
        self.row, self.turn, self.before, self.steps, self.tried = (torch.zeros_like(first) for _ in range(5))
        self.bad = torch.zeros(len(first), dtype=torch.bool)
        self.close = torch.zeros(len(first), self.task.wanted.shape[1], dtype=torch.bool)
        self.live = torch.zeros(len(first), dtype=torch.bool)
        self._occupy(torch.arange(len(first)), first)
        search = self.task.search
        while bool(self.live.any()) and not self.queue.closed:
            with search.arithmetic() if isinstance(search, SearchModel) else nullcontext():
                self.state = self._step(self.state)
            self._settle()

    def _step(self, state: Any) -> Any:
        """One step of all slots, several at once where there is room and the attack can look ahead.

        In halves, and halves of halves, where memory does not hold them all.
        """
        count = len(state.fooled)
        while True:
            part = min(self.part, count)
            tries = max(min(self.attack.tries, self.room // part), 1)
            try:
                parts = [
                    self.attack.step(self.task.search, take(state, rows) if part < count else state, tries)
                    for rows in torch.arange(count, device=self.task.device).split(part)
                ]
            except (RuntimeError, MemoryError) as error:
                if not out_of_memory(error):
                    raise
                if tries > 1:
                    self.room = part * tries // 2
                elif part > 1:
                    self.part = part // 2
                else:
                    raise RobauditError(
                        "model: memory does not hold one example; use a larger machine"
                    ) from error
            else:
                self.tried += self.live * tries
                return parts[0] if len(parts) == 1 else join(parts)

    def _begin(self, slots: Tensor) -> None:
        """Start the run whose turn it is in each of `slots`."""
        fresh = self.attack.start(
            take(self.examples, self.row[slots]).to(self.task.device),
            self.turn[slots].to(self.task.device),
        )
        if self.state is None:
            self.state = fresh
        else:
            put(self.state, slots.to(self.task.device), fresh)

    def _occupy(self, slots: Tensor, rows: Tensor) -> None:
        """Give the examples `rows`, of which there may be none, to the slots `slots`."""
        if not len(rows):
            return
        self.row[slots] = rows
        for values in (self.turn, self.before, self.steps, self.tried):
            values[slots] = 0
        self.turn[slots] = self.task.wanted[rows].int().argmax(1)
        self.bad[slots] = False
        self.close[slots] = False
        self.live[slots] = True
        self._begin(slots)

    def _settle(self) -> None:
        """Retire what is done, begin the next run of what has one left, refill, and close ranks at the end."""
        state = self.state
        flags = torch.stack([state.fooled, state.finished, state.nonfinite, state.close])
        *answers, iteration = torch.cat([flags.long(), state.iteration[None]]).cpu()
        fooled, finished, nonfinite, close = (answer.bool() for answer in answers)
        self.steps = self.before + iteration
        self.bad |= nonfinite & self.live
        asked = (fooled & self.live).nonzero().squeeze(1)
        broken = torch.zeros_like(self.live)
        witnesses = None
        if len(asked):
            rows = asked.to(self.task.device)
            x, y = state.x[rows].float().cpu(), state.y[rows]
            sealed = seal(state.candidate[rows].float().cpu().numpy(), x.numpy(), self.task.threat)
            witnesses = torch.from_numpy(sealed)
            broken[asked] = truly_misclassified(
                self.task.strict, witnesses.to(y.device), y, 2 * ROUNDING
            ).cpu()
            witnesses = witnesses[broken[asked]]
        over = finished & self.live & ~broken
        self.close[over, self.turn[over]] = close[over]
        runs = self.task.wanted[self.row]
        later = runs & (torch.arange(runs.shape[1]) > self.turn[:, None])
        again = (over & later.any(1)).nonzero().squeeze(1)
        given_up = (over & ~later.any(1)).nonzero().squeeze(1)
        if len(again):
            self.turn[again] = later[again].int().argmax(1)
            self.before[again] = self.steps[again]
            self._begin(again)
        free = torch.cat([self._leave(broken.nonzero().squeeze(1), witnesses), self._leave(given_up, None)])
        if len(free):
            rows = self.queue.pull(len(free))
            self._occupy(free.sort().values[: len(rows)], rows)
            self._close_ranks()

    def _leave(self, slots: Tensor, witnesses: Tensor | None) -> Tensor:
        """Hand the examples in `slots` over as broken (with witnesses) or not (without)."""
        if not len(slots):
            return slots
        if witnesses is None:
            outcome = torch.where(self.bad[slots], int(Outcome.NONFINITE), int(Outcome.ROBUST))
            witnesses = torch.zeros(0)
        else:
            outcome = torch.full((len(slots),), int(Outcome.BROKEN))
        self.retire(
            Retired(
                rows=self.row[slots].clone(),
                outcome=outcome,
                steps=self.steps[slots].clone(),
                forwards=self.tried[slots] * self.attack.forwards,
                backwards=self.tried[slots] * self.attack.backwards,
                close=self.close[slots],
                witness=witnesses,
                state=take(self.state, slots.to(self.task.device)),
            )
        )
        self.live[slots] = False
        return slots

    def _close_ranks(self) -> None:
        """With the queue empty, drop idle slots once they are an eighth of all."""
        busy = self.live.nonzero().squeeze(1)
        if len(busy) and len(busy) <= len(self.live) * 7 // 8:
            self.state = take(self.state, busy.to(self.task.device))
            for name in ("row", "turn", "before", "steps", "tried", "bad", "close", "live"):
                setattr(self, name, getattr(self, name)[busy])
