"""All kernels of a plan, in one file."""

from __future__ import annotations

from dataclasses import dataclass

from ...plan import Plan
from .arguments import Case
from .kernels import Kernel, file_of, row_kernels, scan_kernel, step_kernels


@dataclass(frozen=True)
class Program:
    """The kernels of a plan for one case.

    groups: for each batched phase, those of each of its groups.
    loops: for each scan its kernel; for each loop those of a step, in order.
    """

    source: str
    groups: dict[int, tuple[tuple[Kernel, ...], ...]]
    loops: dict[int, tuple[Kernel, ...]]


def program_of(plan: Plan, case: Case) -> Program:
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
            loops[phase.number] = step_kernels(plan, phase, case)
    kernels = [k for parts in groups.values() for part in parts for k in part]
    kernels += [k for part in loops.values() for k in part]
    return Program(file_of(kernels, case), groups, loops)
