"""All kernels of a plan, in one file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rnnc.compiler.backends.cuda.schedule.loop_strategy import StrategyChoice
from rnnc.compiler.schedule.plan import Phase, Plan

from .kernel_arguments import KernelVariant
from .persistent_kernels import generate_block_persistent_kernel, generate_grid_persistent_kernel
from .stage_kernels import (
    TritonKernel,
    format_kernel_file,
    generate_row_kernels,
    generate_scan_kernel,
    generate_step_kernels,
)


@dataclass(frozen=True)
class KernelFile:
    """The kernels of a plan for one case.

    batched_kernels: for each batched phase, those of each of its groups.
    loop_kernels: for each scan its kernel; for each loop that of all steps, or those of a step, in order.
    strategies: for each loop its tier.
    """

    source: str
    batched_kernels: dict[int, tuple[tuple[TritonKernel, ...], ...]]
    loop_kernels: dict[int, tuple[TritonKernel, ...]]
    strategies: Mapping[int, StrategyChoice]


def generate_kernel_file(
    plan: Plan, variant: KernelVariant, strategies: Mapping[int, StrategyChoice]
) -> KernelFile:
    """The kernels of a plan.

    Raises:
        Unsupported: when a phase holds what no kernel is written for.
    """
    groups: dict[int, tuple[tuple[TritonKernel, ...], ...]] = {}
    loops: dict[int, tuple[TritonKernel, ...]] = {}
    for phase in plan.phases:
        if phase.kind == "batched":
            groups[phase.id] = tuple(
                generate_row_kernels(plan, phase, group, variant) for group in phase.groups
            )
        elif phase.kind == "scan":
            loops[phase.id] = (generate_scan_kernel(plan, phase, variant),)
        elif phase.kind == "loop":
            loops[phase.id] = generate_loop_kernels(plan, phase, variant, strategies[phase.id])
    kernels = [k for parts in groups.values() for part in parts for k in part]
    kernels += [k for part in loops.values() for k in part]
    return KernelFile(format_kernel_file(kernels, variant), groups, loops, strategies)


def generate_loop_kernels(
    plan: Plan, phase: Phase, variant: KernelVariant, choice: StrategyChoice
) -> tuple[TritonKernel, ...]:
    """The kernels of a loop in its tier.

    Raises:
        Unsupported: when it holds what no kernel is written for.
    """
    if choice.layout is None:
        return generate_step_kernels(plan, phase, variant)
    kernel = (
        generate_block_persistent_kernel
        if choice.strategy == "chip"
        else generate_grid_persistent_kernel
    )
    return (kernel(plan, phase, variant, choice.layout),)
