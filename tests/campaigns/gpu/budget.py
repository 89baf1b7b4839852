"""Time that is short: who may begin yet, and what did not fit."""

from __future__ import annotations

import time
from collections.abc import Callable


class TimeBudget:
    """Seconds until a visit ends, and the list of what they did not suffice for.

    clock: seconds that only grow.
    """

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock, self.begin = clock, clock()
        self.end = self.begin + seconds
        self.skipped: list[str] = []

    @property
    def remaining(self) -> float:
        """Seconds that are left."""
        return self.end - self.clock()

    @property
    def elapsed(self) -> float:
        """Seconds that are gone."""
        return self.clock() - self.begin

    def share(self, part: float) -> TimeBudget:
        """A part of what is left, with the same list."""
        found = TimeBudget(0, self.clock)
        found.end = self.clock() + max(0.0, part * self.remaining)
        found.skipped = self.skipped
        return found

    def try_begin(self, name: str, seconds: float = 0.0) -> bool:
        """Whether something that takes so long may begin; if not, it is on the list."""
        if self.remaining > seconds:
            return True
        self.skipped.append(name)
        return False
