"""The threads of a run on the CPU: found by a short measurement, and again where steps are suddenly slower."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median

import torch

from robaudit.devices import is_accelerator
from robaudit.engine import fastest_threads, most_threads

#: Steps that are slow together before anybody measures, and how many times slower than usual they are.
RECENT_STEPS, SLOWER_FACTOR = 8, 3.0
#: A measurement may take this share of a run's time at most, and is made again after this many seconds at an epoch's
#: beginning: a neighbour may have gone.
MEASURING_SHARE, STALE_SECONDS = 0.02, 900.0


class Threads:
    """Sets torch's number of threads for one run.

    Args:
        fixed: this many, whatever is measured; 0 to measure.
        device: where the run is; on an accelerator nothing is done.
        clock: seconds that only grow.

    """

    def __init__(self, fixed: int, device: torch.device, clock: Callable[[], float] = time.monotonic) -> None:
        self.most, self._fixed, self._clock = most_threads(), fixed, clock
        self.measured = not fixed and self.most > 1 and not is_accelerator(device)
        self._recent: deque[float] = deque(maxlen=RECENT_STEPS)
        self._usual: float | None = None
        self._measured_at, self._cost = float("-inf"), 0.0

    @contextmanager
    def held(self) -> Iterator[None]:
        """Afterwards torch has as many threads as before."""
        before = torch.get_num_threads()
        if self._fixed:
            torch.set_num_threads(self._fixed)
        try:
            yield
        finally:
            torch.set_num_threads(before)

    def begin_epoch(self, work: Callable[[], object]) -> None:
        """Measure where that was long ago, or never done."""
        if self.measured and self._clock() - self._measured_at > STALE_SECONDS:
            self._measure(work)

    def step(self, seconds: float, work: Callable[[], object]) -> bool:
        """A step took so long: measure again where several were much slower than usual; whether that was done.

        Args:
            seconds: that the step took.
            work: a short part of one, as `fastest_threads` takes it.

        """
        if not self.measured:
            return False
        self._recent.append(seconds)
        if len(self._recent) < RECENT_STEPS:
            return False
        now = median(self._recent)
        self._usual = min(now, self._usual or now)
        rested = self._clock() - self._measured_at > self._cost / MEASURING_SHARE
        if now <= SLOWER_FACTOR * self._usual or not rested:
            return False
        self._measure(work)
        return True

    def _measure(self, work: Callable[[], object]) -> None:
        began = self._clock()
        torch.set_num_threads(fastest_threads(work, self.most))
        self._measured_at = self._clock()
        self._cost = self._measured_at - began
        self._recent.clear()
