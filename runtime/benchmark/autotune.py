"""The search of `rnnc bench --tune`: greedy over questions, keeping clear improvements."""

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
"""A choice is kept if it takes less than this share of the best time so far."""

Measure = Callable[[TuningTable], float]
"""Measures seconds with a table; infinite if it does not run."""


@dataclass(frozen=True, slots=True)
class TuningResult:
    """Seconds before and after a search, the number of tables tried, and the result's file."""

    before: float
    after: float
    trial_count: int
    table: TuningTable
    path: Path | None = None

    def __str__(self) -> str:
        table = self.table
        kept_count = len(table.tilings) + len(table.tiers) + len(table.libraries)
        location = f"; kept in {self.path}" if self.path is not None else ""
        return (
            f"tuned: {self.trial_count} choices tried, {kept_count} kept: "
            f"{1e3 * self.before:.2f} ms a training step, then {1e3 * self.after:.2f} ms{location}"
        )


def search(questions: Iterable[TuningTask], measure: Measure, start: TuningTable) -> TuningResult:
    """Try the answers to each question once; keep each one that is clearly faster."""
    best, best_table, trial_count = measure(start), TuningTable(), 0
    before = best
    for question in questions:
        for candidate_table in question.candidates:
            trial_count += 1
            seconds = measure(candidate_table.merge(best_table).merge(start))
            if seconds < ACCEPT_RATIO * best:
                best, best_table = seconds, candidate_table.merge(best_table)
    return TuningResult(before, best, trial_count, best_table)


def tune(workload: Workload) -> TuningResult:
    """Tune a workload on the GPU and save the result.

    Raises:
        Unavailable: if the backend cannot run it, or the table cannot be written.
    """
    import torch

    index = workload.device.index
    chip = query_device_limits(torch.cuda.current_device() if index is None else index)
    example = workload.output_gradients[0]
    setting = DeviceContext(
        chip, example.element_size(), matmul_precision(example.dtype), workload.rows
    )
    try:
        plan = workload.compile("cuda").backends.choose(example).plan()
    except RnnError as error:
        raise Unavailable(error.diagnostics[0].message) from None
    assert plan is not None

    def measure(table: TuningTable) -> float:
        return _time_training_step(workload, chip.name, table)

    with use_table(chip.name, TuningTable()):
        tier_choices = tuple(strategy_tasks(plan, setting))
    tier_result = search(tier_choices, measure, TuningTable())
    with use_table(chip.name, tier_result.table):
        tile_choices = tuple(tiling_tasks(plan, setting))
    tile_result = search(tile_choices, measure, tier_result.table)
    tuned_table = tile_result.table.merge(tier_result.table)
    library_choices = tuple(cudnn_tasks(workload.graph, example.dtype, workload.rows))
    library_result = search(library_choices, measure, tuned_table)
    table = library_result.table.merge(tuned_table)
    try:
        path = save_table(
            chip.name,
            table,
            {question.key for question in (*tier_choices, *tile_choices, *library_choices)},
        )
    except (OSError, UnusableCache, ImportError) as error:
        raise Unavailable(f"what was found cannot be kept: {error}") from None
    tried = tier_result.trial_count + tile_result.trial_count + library_result.trial_count
    return TuningResult(tier_result.before, library_result.after, tried, table, path)


def _time_training_step(workload: Workload, chip: str, table: TuningTable, times: int = 7) -> float:
    """Return the median of several training steps of a model that uses only this table."""
    with use_table(chip, table):
        seconds = []
        try:
            step = synchronize_after(
                make_step(workload, workload.compile("cuda")), workload.device.type
            )
            step()
            for _ in range(times):
                begin = time.perf_counter()
                step()
                seconds.append(time.perf_counter() - begin)
        except (RnnError, RuntimeError):
            return float("inf")
    return statistics.median(seconds)
