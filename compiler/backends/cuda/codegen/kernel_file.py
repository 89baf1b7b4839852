"""All kernels of a plan, in one file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from ...plan import Phase, Plan
from .arguments import Case
from .kernels import Kernel, file_of, row_kernels, scan_kernel, step_kernels
from .loops import chip_kernel, grid_kernel
from .shapes import Setting
from .tiers import Choice, Tier, choose
from .tuning import slower_tiers


@dataclass(frozen=True)
class Program:
    """The kernels of a plan for one case.

    groups: for each batched phase, those of each of its groups.
    loops: for each scan its kernel; for each loop that of all steps, or those of a step, in order.
    tiers: for each loop its tier.
    """

    source: str
    groups: dict[int, tuple[tuple[Kernel, ...], ...]]
    loops: dict[int, tuple[Kernel, ...]]
    tiers: Mapping[int, Choice]


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


def program_of(plan: Plan, case: Case, tiers: Mapping[int, Choice]) -> Program:
    """The kernels of a plan.

    Raises:
        Unsupported: when a phase holds what no kernel is written for.
    """
    groups: dict[int, tuple[tuple[Kernel, ...], ...]] = {}
    loops: dict[int, tuple[Kernel, ...]] = {}
    for phase in plan.phases:
        if phase.kind == "batched":
            groups[phase.number] = tuple(
                row_kernels(plan, phase, group, case) for group in phase.groups
            )
        elif phase.kind == "scan":
            loops[phase.number] = (scan_kernel(plan, phase, case),)
        elif phase.kind == "loop":
            loops[phase.number] = loop_kernels(plan, phase, case, tiers[phase.number])
    kernels = [k for parts in groups.values() for part in parts for k in part]
    kernels += [k for part in loops.values() for k in part]
    return Program(file_of(kernels, case), groups, loops, tiers)


def loop_kernels(plan: Plan, phase: Phase, case: Case, found: Choice) -> tuple[Kernel, ...]:
    """The kernels of a loop in its tier.

    Raises:
        Unsupported: when it holds what no kernel is written for.
    """
    if found.shape is None:
        return step_kernels(plan, phase, case)
    kernel = chip_kernel if found.tier == "chip" else grid_kernel
    return (kernel(plan, phase, case, found.shape),)
