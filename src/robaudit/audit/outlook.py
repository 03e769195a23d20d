"""How long an audit still takes, in all: one number, which does not jump as stretches of work are added.

An audit that may stop early is thought to be over when its intervals, which narrow with the root of the examples, leave
their bounds if the gaps stay as they are. Any other has its attacks' steps to go through, of which an example that
survives needs all and one that is broken few.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from robaudit.evidence import Evidence
from robaudit.verdict import GAPS, gap, gap_sides

#: Of the passes of a survivor, what a broken example takes; and how many survive, before anything is known.
_BROKEN_SHARE, _SURVIVE = 0.1, 0.5
#: Examples of which the gap says too little to foresee anything.
_LEAST_EXAMPLES = 16
#: Seconds before which nothing is said: of so little one cannot tell.
_LEAST_SECONDS = 2.0


def examples_wanted(evidence: Evidence) -> tuple[int, float] | None:
    """How many examples are known to the end, and how many decide the verdict if the gaps stay what they are.

    None while too little is known of them.
    """
    total = float(evidence.header.data["n"])
    done = 0
    over: list[float] = []
    under = [0.0]
    for name, side in gap_sides(evidence).items():
        found, bound = gap(evidence, name), getattr(evidence.header.plan.bounds, GAPS[name][2])
        if not found or found.value is None:
            return None
        done = max(done, found.n)
        apart, above = abs(found.value - bound), found.value >= bound
        width = found.value - found.low if above else found.high - found.value
        if side == "undecided":
            (over if above else under).append(min(found.n * (width / apart) ** 2, total) if apart else total)
    return (done, min(over) if over else max(under)) if done >= _LEAST_EXAMPLES else None


class Outlook:
    """What is left to do, as seconds; told of what an audit tells its `Progress`.

    Args:
        clock: gives seconds.

    """

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self._clock, self._began = clock, clock()
        self._examples: dict[str, int] = {}
        self._costs: dict[str, int] = {}
        self._totals: dict[str, int] = {}
        self._done: dict[str, tuple[int, int, int]] = {}
        self._first: tuple[float, float] | None = None
        self._end: float | None = None

    def expect(self, stages: dict[str, tuple[int, int]]) -> None:
        """Every stage that will come: on how many examples, and the passes of one that survives."""
        self._examples = {name: examples for name, (examples, _) in stages.items()}
        self._costs = {name: cost for name, (_, cost) in stages.items()}
        self._began = self._clock()

    def begin(self, stage: str, total: int) -> None:
        """`total` more examples of a stage."""
        self._totals[stage] = self._totals.get(stage, 0) + total
        self._done.setdefault(stage, (0, 0, 0))

    def advance(self, stage: str, examples: int, broken: int, passes: int) -> None:
        """Some of them done."""
        was = self._done.get(stage, (0, 0, 0))
        self._done[stage] = (was[0] + examples, was[1] + broken, was[2] + passes)

    def reach(self, done: float, wanted: float) -> None:
        """Of an audit that may stop early: this many examples are done, of those that it is thought to take."""
        now = self._clock()
        if self._first is None or done <= self._first[1]:
            self._first = self._first or (now, done)
            return
        since, before = self._first
        left = (now - since) / (done - before) * max(wanted - done, 0.0)
        if self._end is not None:  # half of what was thought before: a gap that wavers moves it by less
            left = (left + max(self._end - now, 0.0)) / 2
        self._end = now + left

    def seconds_left(self) -> float | None:
        """Of the whole audit; None while that cannot be told."""
        now = self._clock()
        if self._end is not None:
            return max(self._end - now, 0.0)
        passes, elapsed = sum(done[2] for done in self._done.values()), now - self._began
        if not self._examples or not passes or elapsed < _LEAST_SECONDS:
            return None
        return sum(self._left(name) for name in self._examples) * elapsed / passes

    def _left(self, stage: str) -> float:
        """Passes of a stage that are still to come."""
        done, _, passes = self._done.get(stage, (0, 0, 0))
        total = self._totals.get(stage, self._examples[stage])
        if stage in self._done and done >= total:
            return 0.0
        each = self._costs[stage] * (self._surviving() + _BROKEN_SHARE * (1 - self._surviving()))
        return max(total * each - passes, (total - done) * _BROKEN_SHARE * self._costs[stage])

    def _surviving(self) -> float:
        """The least share that a finished stage left."""
        ends = [
            1 - broken / done
            for stage, (done, broken, _) in self._done.items()
            if done and done >= self._totals.get(stage, 0) and stage in self._examples
        ]
        return min(ends, default=_SURVIVE)

    def time_left(self) -> str:
        """The time left in words; empty while it cannot be told."""
        seconds = self.seconds_left()
        if seconds is None:
            return ""
        if seconds < 90:
            return f"about {max(round(seconds / 5) * 5, 5)} s left"
        if seconds < 5400:
            return f"about {round(seconds / 60)} min left"
        return f"about {seconds / 3600:.1f} h left"
