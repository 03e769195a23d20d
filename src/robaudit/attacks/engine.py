"""The scheduler: a fixed number of slots, each working on one example at its own pace.

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
from robaudit.attacks.state import Attack, Examples, join, put, take
from robaudit.attacks.tuning import out_of_memory
from robaudit.attacks.workers import Rows, work_together
from robaudit.errors import RobauditError
from robaudit.evidence import Outcome, seal
from robaudit.plan import ThreatModel

#: Below this share of the spread of the logits a margin is rounding, not a misclassification.
ROUNDING = 1e-5


@dataclass(frozen=True)
class Retired:
    """Examples that left an attack.

    Attributes:
        rows: (n,) int64, their places in the `Examples` given.
        outcome: (n,) int64 of `Outcome`.
        steps: (n,) int64, the steps each took, all its runs together.
        forwards, backwards: (n,) int64, the passes that took, steps tried in vain included.
        witness: (n, C, H, W) float32, meaningful where the outcome is broken.
        state: the attack's own state of these slots.

    """

    rows: Tensor
    outcome: Tensor
    steps: Tensor
    forwards: Tensor
    backwards: Tensor
    witness: Tensor
    state: Any


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
class Engine:
    """Runs attacks against `search`, the fast form of a model, and re-checks against `strict`, its float32 form.

    Args:
        search, strict: from inputs in [0, 1] to logits.
        threat: the ball that witnesses are sealed in.
        slots: examples that each worker has under way at once.
        device: where `search` lives and the slots are kept.
        workers: threads that share the queue, each with slots of its own. More than one needs models whose calls
            do not disturb each other.
        least: examples that each worker must have for there to be more than one.

    """

    search: Model
    strict: Model
    threat: ThreatModel
    slots: int
    device: torch.device
    workers: int = 1
    least: int = 1

    def run(self, attack: Attack, examples: Examples, retire: Callable[[Retired], None]) -> None:
        """Attack every example once; `retire` is called with each group as it finishes, in no fixed order."""
        rows = Rows(len(examples))
        workers = max(min(self.workers, len(examples) // self.least), 1)
        width = min(self.slots, -(-len(examples) // workers))
        works = [_Run(self, attack, examples, rows, width).go for _ in range(workers)]
        if workers == 1:
            works[0](retire)
        else:
            work_together(works, rows, retire)


class _Run:
    """One attack, by one worker: which example sits in which slot, and how far it is."""

    def __init__(self, engine: Engine, attack: Attack, examples: Examples, queue: Rows, width: int):
        self.engine, self.attack, self.examples, self.queue = engine, attack, examples, queue
        self.runs = attack.runs(examples.logits.shape[1]) if len(examples) else 0
        self.part = max(width, 1)
        self.room = engine.slots
        self.retire: Callable[[Retired], None]
        self.state: Any = None

    def go(self, retire: Callable[[Retired], None]) -> None:
        """Step until the queue is empty and every example has left."""
        self.retire = retire
        first = self.queue.pull(self.part)
        # Of each slot: the example's row, which of its runs this is, the steps of the runs before and of all, the
        # steps tried, whether it is in use.
        self.row, self.turn, self.before, self.steps, self.tried = (torch.zeros_like(first) for _ in range(5))
        self.bad = torch.zeros(len(first), dtype=torch.bool)
        self.live = torch.zeros(len(first), dtype=torch.bool)
        self._occupy(torch.arange(len(first)), first)
        search = self.engine.search
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
                    self.attack.step(self.engine.search, take(state, rows) if part < count else state, tries)
                    for rows in torch.arange(count, device=self.engine.device).split(part)
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
            take(self.examples, self.row[slots]).to(self.engine.device),
            self.turn[slots].to(self.engine.device),
        )
        if self.state is None:
            self.state = fresh
        else:
            put(self.state, slots.to(self.engine.device), fresh)

    def _occupy(self, slots: Tensor, rows: Tensor) -> None:
        """Give the examples `rows`, of which there may be none, to the slots `slots`."""
        if not len(rows):
            return
        self.row[slots] = rows
        for values in (self.turn, self.before, self.steps, self.tried):
            values[slots] = 0
        self.bad[slots] = False
        self.live[slots] = True
        self._begin(slots)

    def _settle(self) -> None:
        """Retire what is done, begin the next run of what has one left, refill, and close ranks at the end."""
        state = self.state
        flags = torch.stack([state.fooled, state.finished, state.nonfinite])
        *answers, iteration = torch.cat([flags.long(), state.iteration[None]]).cpu()
        fooled, finished, nonfinite = (answer.bool() for answer in answers)
        self.steps = self.before + iteration
        self.bad |= nonfinite & self.live
        asked = (fooled & self.live).nonzero().squeeze(1)
        broken = torch.zeros_like(self.live)
        witnesses = None
        if len(asked):
            rows = asked.to(self.engine.device)
            x, y = state.x[rows].float().cpu(), state.y[rows]
            sealed = seal(state.candidate[rows].float().cpu().numpy(), x.numpy(), self.engine.threat)
            witnesses = torch.from_numpy(sealed)
            broken[asked] = truly_misclassified(
                self.engine.strict, witnesses.to(y.device), y, 2 * ROUNDING
            ).cpu()
            witnesses = witnesses[broken[asked]]
        over = finished & self.live & ~broken
        again = (over & (self.turn + 1 < self.runs)).nonzero().squeeze(1)
        given_up = (over & (self.turn + 1 >= self.runs)).nonzero().squeeze(1)
        if len(again):
            self.turn[again] += 1
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
                witness=witnesses,
                state=take(self.state, slots.to(self.engine.device)),
            )
        )
        self.live[slots] = False
        return slots

    def _close_ranks(self) -> None:
        """With the queue empty, drop idle slots once they are an eighth of all."""
        busy = self.live.nonzero().squeeze(1)
        if len(busy) and len(busy) <= len(self.live) * 7 // 8:
            self.state = take(self.state, busy.to(self.engine.device))
            for name in ("row", "turn", "before", "steps", "tried", "bad", "live"):
                setattr(self, name, getattr(self, name)[busy])
