"""All kernels of a plan, in one file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rnnc.compiler.backends.cuda.schedule.loop_strategy import Choice
from rnnc.compiler.schedule.plan import Phase, Plan

from .kernel_arguments import Case
from .persistent_kernels import chip_kernel, grid_kernel
from .stage_kernels import Kernel, file_of, row_kernels, scan_kernel, step_kernels


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
