"""A time budget with a list of skipped work."""

from __future__ import annotations

import time
from collections.abc import Callable


class TimeBudget:
    """Seconds until a deadline, and the names of work that did not fit.

    clock: seconds that only grow.
    """

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock, self.begin = clock, clock()
        self.end = self.begin + seconds
        self.skipped: list[str] = []

    @property
    def remaining(self) -> float:
        """Seconds until the deadline."""
        return self.end - self.clock()

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return self.clock() - self.begin

    def share(self, part: float) -> TimeBudget:
        """Make a budget of a share of the remaining time, with the same list."""
        budget = TimeBudget(0, self.clock)
        budget.end = self.clock() + max(0.0, part * self.remaining)
        budget.skipped = self.skipped
        return budget

    def try_begin(self, name: str, seconds: float = 0.0) -> bool:
        """Test that so many seconds remain; otherwise list the work as skipped."""
        if self.remaining > seconds:
            return True
        self.skipped.append(name)
        return False
