"""Choose the strategy of a loop by where its weights stay between steps (users: "tier").

chip: block-persistent, in one multiprocessor per row tile; programs never wait for each other.
grid: grid-persistent, in slices on all multiprocessors, with a barrier after each dependent matmul.
graph: CUDA graphs, with one launch per dependent matmul and step; weights stay in memory.

The choice follows from sizes, dtypes and device limits, before anything is compiled. `chip` and
`grid` correspond to the fused kernels of FlashRNN, `graph` to its alternating ones.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

from rnnc.compiler.schedule.plan import Phase, Plan
from rnnc.grammar.diagnostics.errors import fail

from .block_parallelism import partition_independent_stages
from .kernel_partition import partition_stages
from .persistent_layout import (
    DeviceContext,
    PersistentLayout,
    block_persistent_layout,
    grid_persistent_layout,
)

LoopStrategy = Literal["chip", "grid", "graph"]

STRATEGIES: Final[tuple[LoopStrategy, ...]] = ("chip", "grid", "graph")
"""All strategies, the fastest first."""

STRATEGY_VARIABLE: Final = "RNNC_CUDA_TIER"
"""The environment variable that forces a strategy."""


@dataclass(frozen=True, slots=True)
class StrategyChoice:
    """The strategy of a loop.

    rejected: the faster strategies, each with the reason in one sentence.
    layout: None for `graph`.
    """

    strategy: LoopStrategy
    rejected: tuple[tuple[LoopStrategy, str], ...]
    layout: PersistentLayout | None = None


def choose_strategy(
    plan: Plan,
    phase: Phase,
    context: DeviceContext,
    forced: LoopStrategy | None = None,
    excluded: Mapping[LoopStrategy, str] = MappingProxyType({}),
) -> StrategyChoice:
    """Choose the fastest strategy that fits a loop, or the forced one.

    excluded: strategies that failed to launch or were measured slower, and why.

    Raises:
        RnnError: when the forced strategy does not fit (RNN501).
    """
    rejected: list[tuple[LoopStrategy, str]] = []
    for strategy in (forced,) if forced else STRATEGIES:
        layout = excluded.get(strategy) or _strategy_layout(strategy, plan, phase, context)
        if not isinstance(layout, str):
            return StrategyChoice(strategy, tuple(rejected), layout)
        rejected.append((strategy, layout))
    strategy, reason = rejected[-1]
    fail("RNN501", f"{STRATEGY_VARIABLE}={strategy}, but that tier cannot run this model: {reason}")


def forced_strategy() -> LoopStrategy | None:
    """Read the forced strategy from the environment, if any.

    Raises:
        RnnError: when the variable names no strategy (RNN501).
    """
    name = os.environ.get(STRATEGY_VARIABLE, "")
    if name and name not in STRATEGIES:
        fail("RNN501", f"{STRATEGY_VARIABLE}={name}, but the tiers are {', '.join(STRATEGIES)}")
    return name if name else None


def _strategy_layout(
    strategy: LoopStrategy, plan: Plan, phase: Phase, context: DeviceContext
) -> PersistentLayout | str | None:
    if strategy == "graph":
        return None
    if strategy == "chip":
        return block_persistent_layout(*partition_independent_stages(plan, phase.values), context)
    return grid_persistent_layout(partition_stages(plan, phase.values), context)
