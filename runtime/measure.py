"""Times of several ways to do one thing, run in turns in one process.

A machine's speed drifts, and others use it: only what ran side by side can be compared.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds: the median, the quartiles, and processor time (median) of all threads together."""

    median: float
    low: float
    high: float
    processor: float
    first: float


def measure(ways: Mapping[str, Callable[[], object]], repeat: int) -> dict[str, Times]:
    """Run each way once (`first`, with all that is made only once), then all in turns."""
    first: dict[str, float] = {}
    wall: dict[str, list[float]] = {name: [] for name in ways}
    busy: dict[str, list[float]] = {name: [] for name in ways}
    for name, way in ways.items():
        begin = time.perf_counter()
        way()
        first[name] = time.perf_counter() - begin
    for _ in range(repeat):
        for name, way in ways.items():
            begin, work = time.perf_counter(), time.process_time()
            way()
            wall[name].append(time.perf_counter() - begin)
            busy[name].append(time.process_time() - work)
    return {name: _times(wall[name], busy[name], first[name]) for name in ways}


def _times(wall: list[float], busy: list[float], first: float) -> Times:
    low, middle, high = (
        statistics.quantiles(wall, n=4, method="inclusive") if len(wall) > 1 else wall * 3
    )
    return Times(middle, low, high, statistics.median(busy), first)
