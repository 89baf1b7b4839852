"""What might be faster than the rules, for `rnnc bench --tune` to try: tiers, then tiles."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from rnnc.compiler.backends.cuda.codegen.kernel_arguments import Case
from rnnc.compiler.backends.cuda.codegen.kernel_file import program_of
from rnnc.compiler.backends.cuda.codegen.stage_kernels import Kernel
from rnnc.compiler.backends.cuda.cudnn.cudnn_layers import Library
from rnnc.compiler.backends.cuda.schedule.loop_strategy import TIERS, Tier
from rnnc.compiler.backends.cuda.schedule.persistent_layout import Setting
from rnnc.compiler.schedule.plan import Phase, Plan
from rnnc.operators.graph.operator_graph import OperatorGraph

from .strategy_selection import choices_of
from .tile_sizes import Tiling, tiling_of
from .tuning_table import Table, kernel_key, loop_key


@dataclass(frozen=True, slots=True)
class Question:
    """One thing to choose: tables, of one entry each, to try; what the rules say is not there."""

    key: str
    tables: tuple[Table, ...]


def tier_questions(plan: Plan, setting: Setting) -> Iterator[Question]:
    """For each loop the tiers that the rules have not taken and that fit it."""
    usual = choices_of(plan, setting)
    asked: set[str] = set()
    for phase in plan.phases:
        if phase.kind != "loop":
            continue
        key = loop_key(plan, phase, setting)
        refused = {tier for tier, _ in usual[phase.number].refused}
        others = [t for t in TIERS if t not in refused and t != usual[phase.number].tier]
        fitting = tuple(Table(tiers={key: t}) for t in others if _fits(plan, phase, setting, t))
        if fitting and key not in asked:
            asked.add(key)
            yield Question(key, fitting)


def _fits(plan: Plan, phase: Phase, setting: Setting, tier: Tier) -> bool:
    skipped = dict.fromkeys(TIERS[: TIERS.index(tier)], "another is asked about")
    return choices_of(plan, setting, None, {phase.number: skipped})[phase.number].tier == tier


def library_question(graph: OperatorGraph, dtype: torch.dtype, rows: int) -> Iterator[Question]:
    """Whether torch's library is faster, where the graph is layers that it has."""
    library = Library(graph)
    if library.stack is not None:
        key = library.key(dtype, rows)
        yield Question(key, (Table(libraries={key: "cudnn"}),))


def tile_questions(plan: Plan, setting: Setting) -> Iterator[Question]:
    """For each kernel whose tiles are free, tiles near those of the rules."""
    program = program_of(plan, Case(), choices_of(plan, setting))
    kernels = [k for groups in program.groups.values() for group in groups for k in group]
    kernels += [kernel for loop in program.loops.values() for kernel in loop]
    asked: set[str] = set()
    for kernel in kernels:
        key = kernel_key(kernel, setting.bytes)
        if kernel.shape is None and key not in asked:
            asked.add(key)
            near = tuple(dict.fromkeys(_near(kernel, tiling_of(kernel, setting.bytes))))
            yield Question(key, tuple(Table({key: tiling}) for tiling in near))


def _near(kernel: Kernel, usual: Tiling) -> Iterator[Tiling]:
    rows, columns, depth, warps = usual.rows, usual.columns, usual.depth, usual.warps
    if kernel.products:
        yield Tiling(rows, columns, 2 * depth, warps)
        yield Tiling(16 if rows > 16 else 32, columns, depth, warps)
        yield Tiling(rows, 2 * columns, depth, warps)
        yield Tiling(rows, columns, depth, 2 * warps)
        return
    if columns > 16:
        yield Tiling(rows, columns // 2, depth, warps)
    yield Tiling(2 * rows, columns, depth, warps)
    if rows > 1:
        yield Tiling(rows // 2, columns, depth, warps)
    yield Tiling(rows, columns, depth, 2 * warps)
