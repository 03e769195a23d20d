"""The runs that a task consists of, shared by its workers: what is handed out, under way and over."""

from __future__ import annotations

import threading
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass
class Ended:
    """Runs that left their slots, k of them: broken, used up, or no longer of interest.

    Attributes:
        row, turn: (k,) int64, which example's and which of its runs.
        steps: (k,) int64, the steps done; counted where the run decides or comes before the one that does.
        tried: (k,) int64, the steps tried, always counted.
        near_miss, bad: (k,) bool, whether it came close to a break; whether it met logits that are not finite.
        closest: (k,), the largest margin that it met; -inf where that is not kept.
        broken: (k,) bool.
        witness: (m, C, H, W), of the m broken ones.

    """

    row: Tensor
    turn: Tensor
    steps: Tensor
    tried: Tensor
    near_miss: Tensor
    bad: Tensor
    closest: Tensor
    broken: Tensor
    witness: Tensor


class Runs:
    """Hands every run out once, to whichever worker asks, and keeps what came of them.

    Of an example's runs the first in their order that breaks decides, whatever the others find. So a run may begin
    before those before it are over, and the outcome is that of one after the other.

    Args:
        wanted: (n, runs) bool, the runs to make of each example; at least one.
        workers: how many share them.

    Attributes:
        broken: (n,) int64, the first run so far that broke; the number of runs where none did.
        steps, tried: (n,) int64 once an example is over: up to the break, and of all runs.
        near_misses: (n, runs) bool, the runs that came close to a break and ended without one.
        closest: (n,), the largest margin that any run of an example met; -inf where that is not kept.
        bad: (n,) bool, whether logits were met that are not finite.
        closed: whether the workers are to stop at their next step.

    """

    def __init__(self, wanted: Tensor, workers: int = 1):
        n, runs = wanted.shape
        self._waiting, self._under_way = wanted.clone(), torch.zeros(n, dtype=torch.int64)
        self._fresh = 0  # from here on no run of any example has begun
        self._steps = torch.zeros(n, runs, dtype=torch.int64)
        self._witnesses: dict[int, Tensor] = {}
        self._workers, self._lock = workers, threading.Lock()
        self.broken = torch.full((n,), runs)
        self.tried = torch.zeros(n, dtype=torch.int64)
        self.near_misses = torch.zeros(n, runs, dtype=torch.bool)
        self.closest = torch.full((n,), float("-inf"))
        self.bad = torch.zeros(n, dtype=torch.bool)
        self.closed = False

    def pull(self, had: Tensor) -> tuple[Tensor, Tensor]:
        """The next runs for slots whose last example was `had` (k,) int64; -1 where there was none.

        A slot goes on with its example, or takes one that nobody has begun, or, where there is none, begins a later
        run of one that is under way.

        Returns:
            rows, turns: (k,) int64, which example's and which of its runs; -1 in rows where nothing is left.

        """
        rows, turns = torch.full_like(had, -1), torch.zeros_like(had)

        def give(slots: Tensor, examples: Tensor, which: Tensor) -> None:
            rows[slots], turns[slots] = examples, which
            self._waiting[examples, which] = False
            self._under_way.index_add_(0, examples, torch.ones_like(examples))

        with self._lock:
            for slot in ((had >= 0) & self._waiting[had].any(1)).nonzero():
                example = had[slot]
                if self._waiting[example].any():  # another slot of the same example may have had the last
                    give(slot, example, self._waiting[example].int().argmax(1))
            empty = (rows < 0).nonzero().squeeze(1)
            fresh = torch.arange(self._fresh, min(self._fresh + len(empty), len(self.broken)))
            self._fresh += len(fresh)
            give(empty[: len(fresh)], fresh, self._waiting[fresh].int().argmax(1))
            empty = empty[len(fresh) :]
            if len(empty):
                which, later = self._waiting.t().nonzero()[: len(empty)].T
                give(empty[: len(later)], later, which)
        return rows, turns

    def end(self, ended: Ended) -> Tensor:
        """Note what came of some runs.

        Returns:
            (k,) bool, those with which their example is over; one for each such example.

        """
        with self._lock:
            row, turn = ended.row, ended.turn
            self._steps[row, turn] = ended.steps
            self.near_misses[row, turn] = ended.near_miss & ~ended.broken
            self.tried.index_add_(0, row, ended.tried)
            self.closest.scatter_reduce_(0, row, ended.closest, "amax")
            self.bad[row[ended.bad]] = True
            self._under_way.index_add_(0, row, -torch.ones_like(row))
            breaks = zip(row[ended.broken].tolist(), turn[ended.broken].tolist(), ended.witness, strict=True)
            for example, run, witness in breaks:
                if run < int(self.broken[example]):
                    self.broken[example], self._witnesses[example] = run, witness
                    self._waiting[example, run:] = False
            over = (self._under_way[row] == 0) & ~self._waiting[row].any(1)
            seen: set[int] = set()
            for place in over.nonzero().squeeze(1).tolist():
                over[place] = int(row[place]) not in seen
                seen.add(int(row[place]))
            return over

    def steps(self, rows: Tensor) -> Tensor:
        """(k,) int64: the steps of the examples `rows`, up to the break or of all their runs."""
        runs = torch.arange(self._steps.shape[1])
        return (self._steps[rows] * (runs <= self.broken[rows, None])).sum(1)

    def witnesses(self, rows: Tensor) -> Tensor:
        """(k, C, H, W) of the broken examples `rows`, which are forgotten here."""
        return torch.stack([self._witnesses.pop(row) for row in rows.tolist()])

    def close_down(self) -> None:
        """Tell the workers to stop at their next step."""
        self.closed = True

    def leave(self) -> None:
        """Tell that one worker is done."""
        with self._lock:
            self._workers -= 1

    @property
    def alone(self) -> bool:
        """Whether one worker is left."""
        return self._workers == 1
