"""Time several functions in interleaved rounds in one process.

A machine's speed drifts, and others use it: only neighboring measurements are comparable.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

MIN_ROUNDS: Final = 5
"""Rounds that run even if the budget is spent."""

PAUSE_SECONDS: Final = 0.002
"""Pause between two runs, in which the previous run's threads stop spinning."""


@dataclass(frozen=True, slots=True)
class Samples:
    """Seconds of one function, one number for each round.

    wall: elapsed. cpu: of all threads of the process together.
    """

    wall: tuple[float, ...]
    cpu: tuple[float, ...]


def run_interleaved(
    functions: Mapping[str, Callable[[], object]], repeat: int, *, budget: float | None = None
) -> dict[str, Samples]:
    """Run each function once as warm-up, then all in rounds with rotating order.

    Args:
        functions: by name.
        repeat: most rounds.
        budget: seconds after which no further round begins, once there are `MIN_ROUNDS`.
    """
    wall: dict[str, list[float]] = {name: [] for name in functions}
    cpu: dict[str, list[float]] = {name: [] for name in functions}
    for function in functions.values():
        function()
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
            cpu[name].append(time.process_time() - work)
    return {name: Samples(tuple(wall[name]), tuple(cpu[name])) for name in functions}
