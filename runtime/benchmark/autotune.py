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
    Question,
    library_question,
    tier_questions,
    tile_questions,
)
from rnnc.compiler.backends.cuda.autotune.tuning_table import Table, keep, using
from rnnc.compiler.backends.cuda.schedule.device_limits import chip_of
from rnnc.compiler.backends.cuda.schedule.matmul_precision import precision_of
from rnnc.compiler.backends.cuda.schedule.persistent_layout import Setting
from rnnc.grammar.diagnostics.errors import RnnError
from rnnc.runtime.benchmark.baselines.backends import step_of
from rnnc.runtime.benchmark.measurement.device_timing import finished
from rnnc.runtime.benchmark.workload.candidate import Unavailable
from rnnc.runtime.benchmark.workload.workload import Case

GAIN: Final = 0.97
"""A choice is kept where it takes less than this part of the time without it."""

Measure = Callable[[Table], float]
"""Seconds with a table; infinite where it does not run."""


@dataclass(frozen=True, slots=True)
class Tuned:
    """What a search has found: seconds before and after, how many tables it tried, and where."""

    before: float
    after: float
    tried: int
    table: Table
    path: Path | None = None

    def __str__(self) -> str:
        table = self.table
        kept = len(table.tilings) + len(table.tiers) + len(table.libraries)
        where = f"; kept in {self.path}" if self.path is not None else ""
        return (
            f"tuned: {self.tried} choices tried, {kept} kept: "
            f"{1e3 * self.before:.2f} ms a training step, then {1e3 * self.after:.2f} ms{where}"
        )


def search(questions: Iterable[Question], measure: Measure, start: Table) -> Tuned:
    """Go through the questions once, and keep each answer that is surely faster."""
    best, found, tried = measure(start), Table(), 0
    before = best
    for question in questions:
        for one in question.tables:
            tried += 1
            seconds = measure(one.over(found).over(start))
            if seconds < GAIN * best:
                best, found = seconds, one.over(found)
    return Tuned(before, best, tried, found)


def tune(case: Case) -> Tuned:
    """Search for a case on the GPU, and keep what was found.

    Raises:
        Unavailable: when the backend cannot run it, or the table cannot be written.
    """
    import torch

    index = case.device.index
    chip = chip_of(torch.cuda.current_device() if index is None else index)
    like = case.given[0]
    setting = Setting(chip, like.element_size(), precision_of(like.dtype), case.rows)
    try:
        plan = case.compiled("cuda").backends.choose(like).plan()
    except RnnError as error:
        raise Unavailable(error.diagnostics[0].message) from None
    assert plan is not None

    def measure(table: Table) -> float:
        return _seconds(case, chip.name, table)

    with using(chip.name, Table()):
        loops = tuple(tier_questions(plan, setting))
    tiers = search(loops, measure, Table())
    with using(chip.name, tiers.table):
        kernels = tuple(tile_questions(plan, setting))
    tiles = search(kernels, measure, tiers.table)
    own = tiles.table.over(tiers.table)
    rivals = tuple(library_question(case.graph, like.dtype, case.rows))
    last = search(rivals, measure, own)
    table = last.table.over(own)
    try:
        path = keep(chip.name, table, {question.key for question in (*loops, *kernels, *rivals)})
    except (OSError, UnusableCache, ImportError) as error:
        raise Unavailable(f"what was found cannot be kept: {error}") from None
    tried = tiers.tried + tiles.tried + last.tried
    return Tuned(tiers.before, last.after, tried, table, path)


def _seconds(case: Case, chip: str, table: Table, times: int = 7) -> float:
    """The median of some training steps, by a model that knows no other table."""
    with using(chip, table):
        took = []
        try:
            step = finished(step_of(case, case.compiled("cuda")), case.device.type)
            step()
            for _ in range(times):
                begin = time.perf_counter()
                step()
                took.append(time.perf_counter() - begin)
        except (RnnError, RuntimeError):
            return float("inf")
    return statistics.median(took)
