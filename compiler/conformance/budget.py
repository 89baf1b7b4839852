"""CPU time that a verification may take, shared out among its checks."""

from __future__ import annotations

import os
import time


def cpu_seconds() -> float:
    """CPU seconds of this process, all of its threads, and the C compilers that it ran."""
    # The kernel counts children in hundredths of a second, and this process more finely.
    times = os.times()
    return time.process_time() + times.children_user + times.children_system


class Budget:
    """So many CPU seconds from a moment on, by default from now."""

    def __init__(self, seconds: float, since: float | None = None) -> None:
        self._start = cpu_seconds() if since is None else since
        self._seconds = seconds

    def elapsed(self) -> float:
        """Seconds since the beginning."""
        return cpu_seconds() - self._start

    def remaining(self) -> float:
        """Seconds until the end, none where it is over."""
        return max(0.0, self._seconds - self.elapsed())

    def share(self, checks: int, least: float) -> float:
        """When the first of so many checks should stop, in seconds since the beginning.

        least: the part of all that is left that it may take in any case: a backend that compiles
            takes long at its first call, and most checks take far less than they may.
        """
        return self.elapsed() + self.remaining() * max(least, 1.0 / max(1, checks))
