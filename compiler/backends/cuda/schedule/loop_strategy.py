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

from .block_parallelism import independent_stages
from .kernel_partition import stages_of
from .persistent_layout import Setting, Shape, chip_shape, grid_shape

Tier = Literal["chip", "grid", "graph"]

TIERS: Final[tuple[Tier, ...]] = ("chip", "grid", "graph")
"""The fastest first."""

VARIABLE: Final = "RNNC_CUDA_TIER"
"""The environment variable that names the only tier to be taken."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The tier of a loop.

    refused: the faster tiers, and in one sentence each why it is none of them.
    shape: how the loop is laid out; None for `graph`.
    """

    tier: Tier
    refused: tuple[tuple[Tier, str], ...]
    shape: Shape | None = None


def choose(
    plan: Plan,
    phase: Phase,
    setting: Setting,
    forced: Tier | None = None,
    unfit: Mapping[Tier, str] = MappingProxyType({}),
) -> Choice:
    """The fastest tier that fits a loop, or the one that is forced.

    unfit: tiers that this machine has turned down, and why.

    Raises:
        RnnError: when the one that is forced does not fit (RNN501).
    """
    refused: list[tuple[Tier, str]] = []
    for tier in (forced,) if forced else TIERS:
        found = unfit.get(tier) or _shape(tier, plan, phase, setting)
        if not isinstance(found, str):
            return Choice(tier, tuple(refused), found)
        refused.append((tier, found))
    (tier, why) = refused[-1]
    fail("RNN501", f"{VARIABLE}={tier}, but that tier cannot run this model: {why}")


def why_unfit(error: Exception) -> str:
    """What a machine says of a kernel that it cannot start; empty for any other mistake."""
    if type(error).__name__ == "OutOfResources":
        return f"the GPU does not start its kernel ({error})"
    if isinstance(error, RuntimeError) and "cooperative" in str(error):
        return f"the GPU does not run all its programs at the same time ({error})"
    return ""


def forced_tier() -> Tier | None:
    """The tier that the environment names.

    Raises:
        RnnError: when there is none of that name (RNN501).
    """
    said = os.environ.get(VARIABLE, "")
    if said and said not in TIERS:
        fail("RNN501", f"{VARIABLE}={said}, but the tiers are {', '.join(TIERS)}")
    return said if said else None


def _shape(tier: Tier, plan: Plan, phase: Phase, setting: Setting) -> Shape | str | None:
    if tier == "graph":
        return None
    if tier == "chip":
        return chip_shape(*independent_stages(plan, phase.values), setting)
    return grid_shape(stages_of(plan, phase.values), setting)
