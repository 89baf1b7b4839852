"""Time that is short: who may begin yet, and what did not fit."""

from __future__ import annotations

import time
from collections.abc import Callable


class Budget:
    """Seconds until a visit ends, and the list of what they did not suffice for.

    clock: seconds that only grow.
    """

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock, self.begin = clock, clock()
        self.end = self.begin + seconds
        self.left_out: list[str] = []

    @property
    def left(self) -> float:
        """Seconds that are left."""
        return self.end - self.clock()

    @property
    def spent(self) -> float:
        """Seconds that are gone."""
        return self.clock() - self.begin

    def share(self, part: float) -> Budget:
        """A part of what is left, with the same list."""
        found = Budget(0, self.clock)
        found.end = self.clock() + max(0.0, part * self.left)
        found.left_out = self.left_out
        return found

    def allows(self, what: str, seconds: float = 0.0) -> bool:
        """Whether something that takes so long may begin; if not, it is on the list."""
        if self.left > seconds:
            return True
        self.left_out.append(what)
        return False
