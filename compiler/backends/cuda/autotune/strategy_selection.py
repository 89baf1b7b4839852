"""Choose a strategy for every loop of a plan."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from rnnc.compiler.backends.cuda.schedule.loop_strategy import Choice, Tier, choose
from rnnc.compiler.backends.cuda.schedule.persistent_layout import Setting
from rnnc.compiler.schedule.plan import Plan

from .tuning_table import slower_tiers


def choices_of(
    plan: Plan,
    setting: Setting,
    forced: Tier | None = None,
    unfit: Mapping[int, Mapping[Tier, str]] = MappingProxyType({}),
) -> dict[int, Choice]:
    """For each loop of a plan its tier.

    unfit: for some loops tiers that this machine has turned down, and why.

    Raises:
        RnnError: when the tier that is forced does not fit (RNN501).
    """
    found: dict[int, Choice] = {}
    for phase in plan.phases:
        if phase.kind == "loop":
            slower = {} if forced else slower_tiers(plan, phase, setting)
            without = {**slower, **unfit.get(phase.number, {})}
            found[phase.number] = choose(plan, phase, setting, forced, without)
    return found
