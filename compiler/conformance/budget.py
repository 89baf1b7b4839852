"""CPU time budget of a verification, divided among its checks."""

from __future__ import annotations

import os
import time


def cpu_seconds() -> float:
    """Return the CPU seconds of this process, all of its threads, and the C compilers it ran."""
    # os.times has a resolution of 10 ms; process_time is finer, but leaves out children.
    times = os.times()
    return time.process_time() + times.children_user + times.children_system


class Budget:
    """Budget of CPU seconds from a moment on, by default from now."""

    def __init__(self, seconds: float, since: float | None = None) -> None:
        self._start = cpu_seconds() if since is None else since
        self._seconds = seconds

    def elapsed(self) -> float:
        """Return the CPU seconds since the start."""
        return cpu_seconds() - self._start

    def remaining(self) -> float:
        """Return the CPU seconds until the end, 0 after it."""
        return max(0.0, self._seconds - self.elapsed())

    def share(self, checks: int, least: float) -> float:
        """Return the deadline of the first of some checks, in seconds since the start.

        least: the least part of the remaining time that it may take: a backend that compiles is
            slow at its first call, and most checks take far less than they may.
        """
        return self.elapsed() + self.remaining() * max(least, 1.0 / max(1, checks))
