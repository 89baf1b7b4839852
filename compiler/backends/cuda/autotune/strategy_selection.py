"""Choose a strategy for every loop of a plan."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from rnnc.compiler.backends.cuda.schedule.loop_strategy import (
    LoopStrategy,
    StrategyChoice,
    choose_strategy,
)
from rnnc.compiler.backends.cuda.schedule.persistent_layout import DeviceContext
from rnnc.compiler.schedule.plan import Plan

from .tuning_lookup import slower_strategies


def select_strategies(
    plan: Plan,
    context: DeviceContext,
    forced: LoopStrategy | None = None,
    rejected: Mapping[int, Mapping[LoopStrategy, str]] = MappingProxyType({}),
) -> dict[int, StrategyChoice]:
    """Select the strategy of each loop: the fastest feasible one, or the tuned one.

    rejected: by loop, strategies whose launch has failed on this machine, and why.

    Raises:
        RnnError: when the forced strategy does not fit (RNN501).
    """
    choices: dict[int, StrategyChoice] = {}
    for phase in plan.phases:
        if phase.kind == "loop":
            slower = {} if forced else slower_strategies(plan, phase, context)
            excluded = {**slower, **rejected.get(phase.id, {})}
            choices[phase.id] = choose_strategy(plan, phase, context, forced, excluded)
    return choices
