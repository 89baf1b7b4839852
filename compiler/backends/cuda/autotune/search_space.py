"""Autotuning search space: loop strategies, tile sizes and cuDNN, for `rnnc bench --tune`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from rnnc.compiler.backends.cuda.codegen.kernel_arguments import KernelVariant
from rnnc.compiler.backends.cuda.codegen.kernel_file import generate_kernel_file
from rnnc.compiler.backends.cuda.codegen.triton_kernel import TritonKernel
from rnnc.compiler.backends.cuda.cudnn.cudnn_layers import CudnnLayers
from rnnc.compiler.backends.cuda.schedule.loop_strategy import STRATEGIES, LoopStrategy
from rnnc.compiler.backends.cuda.schedule.persistent_layout import DeviceContext
from rnnc.compiler.schedule.plan import Phase, Plan
from rnnc.operators.graph.operator_graph import OperatorGraph

from .strategy_selection import select_strategies
from .tile_sizes import Tiling, default_tiling
from .tuning_table import TuningTable, kernel_key, loop_key


@dataclass(frozen=True, slots=True)
class TuningTask:
    """One decision to tune: its key, and one single-entry table per alternative to the default."""

    key: str
    candidates: tuple[TuningTable, ...]


def strategy_tasks(plan: Plan, context: DeviceContext) -> Iterator[TuningTask]:
    """Yield a task per loop: the feasible strategies besides the default one."""
    default = select_strategies(plan, context)
    seen_keys: set[str] = set()
    for phase in plan.phases:
        if phase.kind != "loop":
            continue
        key = loop_key(plan, phase, context)
        choice = default[phase.id]
        tried = {choice.strategy, *(strategy for strategy, _ in choice.rejected)}
        candidates = tuple(
            TuningTable(tiers={key: strategy})
            for strategy in STRATEGIES
            if strategy not in tried and _is_feasible(plan, phase, context, strategy)
        )
        if candidates and key not in seen_keys:
            seen_keys.add(key)
            yield TuningTask(key, candidates)


def _is_feasible(plan: Plan, phase: Phase, context: DeviceContext, strategy: LoopStrategy) -> bool:
    excluded = dict.fromkeys(STRATEGIES[: STRATEGIES.index(strategy)], "another is asked about")
    choices = select_strategies(plan, context, None, {phase.id: excluded})
    return choices[phase.id].strategy == strategy


def cudnn_tasks(graph: OperatorGraph, dtype: torch.dtype, batch_size: int) -> Iterator[TuningTask]:
    """Yield the task of running the whole model in cuDNN, if the graph is a layer stack."""
    layers = CudnnLayers(graph)
    if layers.stack is not None:
        key = layers.tuning_key(dtype, batch_size)
        yield TuningTask(key, (TuningTable(libraries={key: "cudnn"}),))


def tiling_tasks(plan: Plan, context: DeviceContext) -> Iterator[TuningTask]:
    """Yield a task per kernel with free tile sizes: the neighbors of the default tiling."""
    file = generate_kernel_file(plan, KernelVariant(), select_strategies(plan, context))
    kernels = [k for groups in file.batched_kernels.values() for group in groups for k in group]
    kernels += [kernel for loop in file.loop_kernels.values() for kernel in loop]
    seen_keys: set[str] = set()
    for kernel in kernels:
        key = kernel_key(kernel, context.element_size)
        if kernel.layout is None and key not in seen_keys:
            seen_keys.add(key)
            default = default_tiling(kernel, context.element_size)
            tilings = dict.fromkeys(_neighbor_tilings(kernel, default))
            yield TuningTask(key, tuple(TuningTable({key: tiling}) for tiling in tilings))


def _neighbor_tilings(kernel: TritonKernel, default: Tiling) -> Iterator[Tiling]:
    rows, columns, depth, warps = default.rows, default.columns, default.depth, default.warps
    if kernel.matmuls:
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
