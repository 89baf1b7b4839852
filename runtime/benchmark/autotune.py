"""The search of `rnnc bench --tune`: one choice after the other, kept where it is surely faster."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rnnc.compiler.backends.cache_dir import UnusableCache
from rnnc.compiler.backends.cuda.autotune.search_space import (
    TuningTask,
    cudnn_tasks,
    strategy_tasks,
    tiling_tasks,
)
from rnnc.compiler.backends.cuda.autotune.tuning_cache import save_table, use_table
from rnnc.compiler.backends.cuda.autotune.tuning_table import TuningTable
from rnnc.compiler.backends.cuda.schedule.device_limits import query_device_limits
from rnnc.compiler.backends.cuda.schedule.matmul_precision import matmul_precision
from rnnc.compiler.backends.cuda.schedule.persistent_layout import DeviceContext
from rnnc.grammar.diagnostics.errors import RnnError
from rnnc.runtime.benchmark.baselines.backends import make_step
from rnnc.runtime.benchmark.measurement.device_timing import synchronize_after
from rnnc.runtime.benchmark.workload.candidate import Unavailable
from rnnc.runtime.benchmark.workload.workload import Workload

ACCEPT_RATIO: Final = 0.97
"""A choice is kept where it takes less than this part of the time without it."""

Measure = Callable[[TuningTable], float]
"""Seconds with a table; infinite where it does not run."""


@dataclass(frozen=True, slots=True)
class TuningResult:
    """What a search has found: seconds before and after, how many tables it tried, and where."""

    before: float
    after: float
    trial_count: int
    table: TuningTable
    path: Path | None = None

    def __str__(self) -> str:
        table = self.table
        kept = len(table.tilings) + len(table.tiers) + len(table.libraries)
        where = f"; kept in {self.path}" if self.path is not None else ""
        return (
            f"tuned: {self.trial_count} choices tried, {kept} kept: "
            f"{1e3 * self.before:.2f} ms a training step, then {1e3 * self.after:.2f} ms{where}"
        )


def search(questions: Iterable[TuningTask], measure: Measure, start: TuningTable) -> TuningResult:
    """Go through the questions once, and keep each answer that is surely faster."""
    best, found, tried = measure(start), TuningTable(), 0
    before = best
    for question in questions:
        for one in question.candidates:
            tried += 1
            seconds = measure(one.merge(found).merge(start))
            if seconds < ACCEPT_RATIO * best:
                best, found = seconds, one.merge(found)
    return TuningResult(before, best, tried, found)


def tune(case: Workload) -> TuningResult:
    """Search for a case on the GPU, and keep what was found.

    Raises:
        Unavailable: when the backend cannot run it, or the table cannot be written.
    """
    import torch

    index = case.device.index
    chip = query_device_limits(torch.cuda.current_device() if index is None else index)
    like = case.output_gradients[0]
    setting = DeviceContext(chip, like.element_size(), matmul_precision(like.dtype), case.rows)
    try:
        plan = case.compile("cuda").backends.choose(like).plan()
    except RnnError as error:
        raise Unavailable(error.diagnostics[0].message) from None
    assert plan is not None

    def measure(table: TuningTable) -> float:
        return _time_training_step(case, chip.name, table)

    with use_table(chip.name, TuningTable()):
        loops = tuple(strategy_tasks(plan, setting))
    tiers = search(loops, measure, TuningTable())
    with use_table(chip.name, tiers.table):
        kernels = tuple(tiling_tasks(plan, setting))
    tiles = search(kernels, measure, tiers.table)
    own = tiles.table.merge(tiers.table)
    rivals = tuple(cudnn_tasks(case.graph, like.dtype, case.rows))
    last = search(rivals, measure, own)
    table = last.table.merge(own)
    try:
        path = save_table(
            chip.name, table, {question.key for question in (*loops, *kernels, *rivals)}
        )
    except (OSError, UnusableCache, ImportError) as error:
        raise Unavailable(f"what was found cannot be kept: {error}") from None
    tried = tiers.trial_count + tiles.trial_count + last.trial_count
    return TuningResult(tiers.before, last.after, tried, table, path)


def _time_training_step(case: Workload, chip: str, table: TuningTable, times: int = 7) -> float:
    """The median of some training steps, by a model that knows no other table."""
    with use_table(chip, table):
        took = []
        try:
            step = synchronize_after(make_step(case, case.compile("cuda")), case.device.type)
            step()
            for _ in range(times):
                begin = time.perf_counter()
                step()
                took.append(time.perf_counter() - begin)
        except (RnnError, RuntimeError):
            return float("inf")
    return statistics.median(took)
