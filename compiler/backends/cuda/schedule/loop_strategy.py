"""Which tier a loop gets: where its weights stay from one step to the next.

chip: on one multiprocessor, for every tile of rows by itself; programs never wait for each other.
grid: in slices on all multiprocessors, which meet at a barrier after each dependent product.
graph: nowhere; one launch for each dependent product of a step, recorded in a CUDA graph.

All of it is decided from sizes, types and a chip's limits, before anything is compiled.
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
"""The fastest first."""

STRATEGY_VARIABLE: Final = "RNNC_CUDA_TIER"
"""The environment variable that names the only tier to be taken."""


@dataclass(frozen=True, slots=True)
class StrategyChoice:
    """The tier of a loop.

    rejected: the faster tiers, and in one sentence each why it is none of them.
    layout: how the loop is laid out; None for `graph`.
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
    """The fastest tier that fits a loop, or the one that is forced.

    excluded: tiers that this machine has turned down, and why.

    Raises:
        RnnError: when the one that is forced does not fit (RNN501).
    """
    refused: list[tuple[LoopStrategy, str]] = []
    for tier in (forced,) if forced else STRATEGIES:
        found = excluded.get(tier) or _strategy_layout(tier, plan, phase, context)
        if not isinstance(found, str):
            return StrategyChoice(tier, tuple(refused), found)
        refused.append((tier, found))
    (tier, why) = refused[-1]
    fail("RNN501", f"{STRATEGY_VARIABLE}={tier}, but that tier cannot run this model: {why}")


def launch_failure_reason(error: Exception) -> str:
    """What a machine says of a kernel that it cannot start; empty for any other mistake."""
    if type(error).__name__ == "OutOfResources":
        return f"the GPU does not start its kernel ({error})"
    if isinstance(error, RuntimeError) and "cooperative" in str(error):
        return f"the GPU does not run all its programs at the same time ({error})"
    return ""


def forced_strategy() -> LoopStrategy | None:
    """The tier that the environment names.

    Raises:
        RnnError: when there is none of that name (RNN501).
    """
    said = os.environ.get(STRATEGY_VARIABLE, "")
    if said and said not in STRATEGIES:
        fail("RNN501", f"{STRATEGY_VARIABLE}={said}, but the tiers are {', '.join(STRATEGIES)}")
    return said if said else None


def _strategy_layout(
    strategy: LoopStrategy, plan: Plan, phase: Phase, context: DeviceContext
) -> PersistentLayout | str | None:
    if strategy == "graph":
        return None
    if strategy == "chip":
        return block_persistent_layout(*partition_independent_stages(plan, phase.values), context)
    return grid_persistent_layout(partition_stages(plan, phase.values), context)
