"""How much of a call's time is left, and whether the next part fits into it."""

from __future__ import annotations

import time
from collections.abc import Callable

#: Kept back for writing the last results: this share of the time, and at most this many seconds.
RESERVE, MOST_RESERVE = 0.05, 20.0


class TimeIsUp(Exception):  # noqa: N818  a state of the clock, which ends a part early
    """The time is over; what is not finished is resumed by a later call."""


class Deadline:
    """The end of a call, which every part asks before it begins.

    Args:
        minutes: of the whole call.
        took: seconds that parts took on this device, in earlier calls and in this one as it goes on.
        began: when the call began, on `clock`.
        clock: seconds that only grow.

    """

    def __init__(
        self,
        minutes: float,
        took: dict[str, float] | None = None,
        began: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        whole = 60 * minutes
        reserve = min(MOST_RESERVE, RESERVE * whole)
        self._end = (clock() if began is None else began) + whole - reserve
        self.took = {} if took is None else took

    def left(self) -> float:
        """Seconds that parts may still use; 0 or less when the time is over."""
        return self._end - self._clock()

    def allows(self, part: str, guess: float = 0.0, times: float = 1.0) -> bool:
        """Whether `part` would be done in time.

        Args:
            part: a name; parts of one name are expected to take as long as the last of them did.
            guess: seconds, where none of that name was done yet.
            times: how often it is to be done.

        """
        return self.left() > times * self.took.get(part, guess)

    def check(self) -> None:
        """Raise `TimeIsUp` if the time is over."""
        if self.left() <= 0:
            raise TimeIsUp
