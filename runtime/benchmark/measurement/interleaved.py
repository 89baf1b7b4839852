"""Several ways to do one thing, run in turns in one process.

A machine's speed drifts, and others use it: only what ran side by side can be compared.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

MIN_ROUNDS: Final = 5
"""Rounds that are run even where the time is up."""

PAUSE_SECONDS: Final = 0.002
"""Seconds between two turns, in which the threads of the one before stop to wait for work."""


@dataclass(frozen=True, slots=True)
class Samples:
    """Seconds of one way, a number for each round.

    wall: elapsed. processor: of all threads of the process together.
    """

    wall: tuple[float, ...]
    cpu: tuple[float, ...]


def run_interleaved(
    functions: Mapping[str, Callable[[], object]], repeat: int, *, budget: float | None = None
) -> dict[str, Samples]:
    """Run each way once, unmeasured, then all in rounds; each round begins with another one.

    Args:
        functions: what to run, by name.
        repeat: how many rounds at most.
        budget: seconds after which no further round begins, once there are `MIN_ROUNDS`.
    """
    wall: dict[str, list[float]] = {name: [] for name in functions}
    busy: dict[str, list[float]] = {name: [] for name in functions}
    for way in functions.values():
        way()
    names, start = list(functions), time.perf_counter()
    for turn in range(repeat):
        if budget is not None and turn >= MIN_ROUNDS and time.perf_counter() - start > budget:
            break
        shift = turn % len(names) if names else 0
        for name in names[shift:] + names[:shift]:
            time.sleep(PAUSE_SECONDS)
            begin, work = time.perf_counter(), time.process_time()
            functions[name]()
            wall[name].append(time.perf_counter() - begin)
            busy[name].append(time.process_time() - work)
    return {name: Samples(tuple(wall[name]), tuple(busy[name])) for name in functions}
