"""The slots of one worker: a fixed number of examples under way, each at its own pace.

As soon as a run has broken its example or used up its budget, its slot takes the next one (`runs`), so the batch is
full until none is left whatever share breaks early. A break counts only after the sealed candidate has been
misclassified by the strict float32 model.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from robaudit.attacks.objectives import Model
from robaudit.attacks.state import Attack, Examples, Retired, join, put, take
from robaudit.devices import NO_ROOM, free_memory, is_accelerator, out_of_memory
from robaudit.engine.rechecking import Breaks, Candidates
from robaudit.engine.runs import Ended, Runs
from robaudit.engine.tuning import Paces
from robaudit.errors import RobauditError
from robaudit.evidence import Outcome
from robaudit.fast import SearchModel
from robaudit.plan import ThreatModel

#: Steps after which a candidate is re-checked at the latest: at once on the CPU; an accelerator would wait each time.
_RECHECK_EVERY, _RECHECK_EVERY_ON_ACCELERATOR = 1, 8


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
    """One worker's part of a task: which run of which example sits in which slot, and how far it is.

    Args:
        task: shared with the other workers.
        runs: of the task, shared as well.
        width: slots in use.
        room: examples that a step may hold, where an attack looks ahead.
        helpers: of the machine's threads, those that the other workers use.
        least: examples that a step of a worker must hold; then, once the others are done, their threads are tried
            on it, and kept where they are faster.

    """

    def __init__(self, task: Task, runs: Runs, width: int, room: int, helpers: int = 0, least: int = 1):
        self.task, self.attack, self.examples, self.runs = task, task.attack, task.examples, runs
        self.part, self.room, self.helpers, self.least = max(width, 1), room, helpers, least
        self.retire: Callable[[Retired], None]
        self.state: Any = None
        every = _RECHECK_EVERY_ON_ACCELERATOR if is_accelerator(task.device) else _RECHECK_EVERY
        self.candidates = Candidates(task.strict, task.threat, every)

    def run(self, retire: Callable[[Retired], None]) -> None:
        """Step until no run is left."""
        self.retire = retire
        # Of each slot: the example's row, or -1 where it is idle, which of its runs this is, the steps tried.
        row, turn = self.runs.pull(torch.full((self.part,), -1))
        self.row, self.turn = row[row >= 0], turn[row >= 0]
        self.tried = torch.zeros_like(self.row)
        if len(self.row):
            self._begin(torch.arange(len(self.row)))
        search = self.task.search
        own, paces = torch.get_num_threads(), Paces()
        try:
            while bool((self.row >= 0).any()) and not self.runs.closed:
                if self.helpers and self.runs.alone:
                    worth_it = min(self.room, len(self.row) * self.attack.tries) >= self.least
                    # Beside a busy neighbour threads that wait for each other are slower than one.
                    torch.set_num_threads(paces.faster(own + self.helpers, own) if worth_it else own)
                began, count = time.perf_counter(), len(self.row)
                with search.arithmetic() if isinstance(search, SearchModel) else nullcontext():
                    self.state = self._step(self.state)
                paces.note(torch.get_num_threads(), (time.perf_counter() - began) / count)
                self._retire_and_refill()
        finally:
            torch.set_num_threads(own)
            self.runs.leave()

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
                free_memory()
                if tries > 1:
                    self.room = part * tries // 2
                elif part > 1:
                    self.part = part // 2
                else:
                    raise RobauditError(NO_ROOM) from error
            else:
                self.tried += tries
                return parts[0] if len(parts) == 1 else join(parts)

    def _begin(self, slots: Tensor) -> None:
        """Start the runs that were given to `slots`."""
        self.tried[slots] = 0
        fresh = self.attack.start(
            take(self.examples, self.row[slots]).to(self.task.device),
            self.turn[slots].to(self.task.device),
        )
        if self.state is None:
            self.state = fresh
        else:
            put(self.state, slots.to(self.task.device), fresh)

    def _retire_and_refill(self) -> None:
        """Hand over what is done, refill, and close ranks at the end."""
        state, live = self.state, self.row >= 0
        flags = torch.stack([state.fooled, state.finished, state.nonfinite, state.near_miss])
        *answers, iteration = torch.cat([flags.long(), state.iteration[None]]).cpu()
        fooled, finished, bad, near_miss = (answer.bool() for answer in answers)
        breaks = self._recheck(fooled & live, finished & live, iteration)
        broken = torch.zeros_like(live)
        if breaks is not None:
            broken[breaks.slots] = True
            iteration[breaks.slots] = breaks.steps
        # Others are over too: used up, or an earlier run of the same example, perhaps another worker's, has broken.
        over = live & ~broken & (finished | (self.turn > self.runs.broken[self.row]))
        if breaks is None and not over.any():
            return

        def leave(slots: Tensor, witness: Tensor) -> None:
            ended = self.runs.end(
                Ended(
                    row=self.row[slots],
                    turn=self.turn[slots],
                    steps=iteration[slots],
                    tried=self.tried[slots],
                    near_miss=near_miss[slots],
                    bad=bad[slots],
                    closest=self._closest(slots),
                    broken=broken[slots],
                    witness=witness,
                )
            )
            self._hand_over(slots[ended])

        if breaks is not None:
            leave(breaks.slots, breaks.witness)
            over |= live & ~broken & (self.turn > self.runs.broken[self.row])
        if over.any():
            leave(over.nonzero().squeeze(1), torch.zeros(0))
        free = (broken | over).nonzero().squeeze(1)
        self.candidates.forget(free)
        self.row[free], self.turn[free] = self.runs.pull(self.row[free])
        begun = free[self.row[free] >= 0]
        if len(begun):
            self._begin(begun)
        self._close_ranks()

    def _closest(self, slots: Tensor) -> Tensor:
        """(k,): the largest margin that the runs in `slots` met, of an attack that keeps it."""
        if not hasattr(self.state, "closest"):
            return torch.full(slots.shape, float("-inf"))
        closest: Tensor = self.state.closest[slots.to(self.task.device)]
        return closest.float().cpu()

    def _recheck(self, fooled: Tensor, finished: Tensor, iteration: Tensor) -> Breaks | None:
        """Take in the slots that are `fooled` now, and look at all that wait where it is time to."""
        asked = fooled.nonzero().squeeze(1)
        if len(asked):
            rows = asked.to(self.task.device)
            state = self.state
            self.candidates.add(asked, iteration[asked], state.x[rows], state.y[rows], state.candidate[rows])
        return self.candidates.judge() if self.candidates.due(self.row >= 0, finished) else None

    def _hand_over(self, slots: Tensor) -> None:
        """Retire the examples whose last run was in `slots`: the broken, with witnesses, and the others."""
        rows, runs = self.row[slots], self.runs
        broken = runs.broken[rows] < runs.near_misses.shape[1]
        unbroken = torch.where(runs.bad[rows], int(Outcome.NONFINITE), int(Outcome.ROBUST))
        outcome = torch.where(broken, int(Outcome.BROKEN), unbroken)
        for group in (broken, ~broken):
            here = rows[group]
            if not len(here):
                continue
            self.retire(
                Retired(
                    rows=here,
                    outcome=outcome[group],
                    steps=runs.steps(here),
                    forwards=runs.tried[here] * self.attack.forwards,
                    backwards=runs.tried[here] * self.attack.backwards,
                    near_misses=runs.near_misses[here],
                    closest=runs.closest[here],
                    witness=runs.witnesses(here) if group is broken else torch.zeros(0),
                    state=take(self.state, slots[group].to(self.task.device)),
                )
            )

    def _close_ranks(self) -> None:
        """With no run left to begin, drop idle slots once they are an eighth of all."""
        busy = (self.row >= 0).nonzero().squeeze(1)
        if len(busy) and len(busy) <= len(self.row) * 7 // 8:
            self.candidates.moved(busy)
            self.state = take(self.state, busy.to(self.task.device))
            self.row, self.turn, self.tried = self.row[busy], self.turn[busy], self.tried[busy]
