"""Generate all kernels of a plan as one file of Triton source."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from rnnc.compiler.backends.cuda.schedule.loop_strategy import StrategyChoice
from rnnc.compiler.schedule.plan import Phase, Plan

from .expressions import collect_functions
from .grid_barrier import BARRIER_SOURCE
from .kernel_arguments import KernelVariant
from .persistent_kernels import generate_block_persistent_kernel, generate_grid_persistent_kernel
from .scan_kernel import generate_scan_kernel
from .stage_kernels import generate_row_kernels, generate_step_kernels
from .tile_body import file_header
from .triton_kernel import TritonKernel


@dataclass(frozen=True)
class KernelFile:
    """The kernels of a plan for one variant and one set of strategies.

    batched_kernels: by batched phase, the kernels of each of its fusion groups.
    loop_kernels: by scan its kernel; by loop its persistent kernel, or its step kernels in order.
    strategies: by loop.
    """

    source: str
    batched_kernels: dict[int, tuple[tuple[TritonKernel, ...], ...]]
    loop_kernels: dict[int, tuple[TritonKernel, ...]]
    strategies: Mapping[int, StrategyChoice]


def generate_kernel_file(
    plan: Plan, variant: KernelVariant, strategies: Mapping[int, StrategyChoice]
) -> KernelFile:
    """Generate the kernels of a plan.

    Raises:
        Unsupported: when a phase has an operation without a kernel.
    """
    batched_kernels: dict[int, tuple[tuple[TritonKernel, ...], ...]] = {}
    loop_kernels: dict[int, tuple[TritonKernel, ...]] = {}
    for phase in plan.phases:
        if phase.kind == "batched":
            batched_kernels[phase.id] = tuple(
                generate_row_kernels(plan, phase, group, variant) for group in phase.groups
            )
        elif phase.kind == "scan":
            loop_kernels[phase.id] = (generate_scan_kernel(plan, phase, variant),)
        elif phase.kind == "loop":
            loop_kernels[phase.id] = generate_loop_kernels(
                plan, phase, variant, strategies[phase.id]
            )
    kernels = [k for groups in batched_kernels.values() for group in groups for k in group]
    kernels += [k for loop in loop_kernels.values() for k in loop]
    return KernelFile(
        format_kernel_file(kernels, variant), batched_kernels, loop_kernels, strategies
    )


def generate_loop_kernels(
    plan: Plan, phase: Phase, variant: KernelVariant, choice: StrategyChoice
) -> tuple[TritonKernel, ...]:
    """Generate the kernels of a loop for its strategy.

    Raises:
        Unsupported: when the loop has an operation without a kernel.
    """
    if choice.layout is None:
        return generate_step_kernels(plan, phase, variant)
    generate = (
        generate_block_persistent_kernel
        if choice.strategy == "chip"
        else generate_grid_persistent_kernel
    )
    return (generate(plan, phase, variant, choice.layout),)


def format_kernel_file(kernels: Iterable[TritonKernel], variant: KernelVariant) -> str:
    """Return the text of a kernel file: header, device functions, kernels."""
    kernels = tuple(kernels)
    sources = [kernel.source for kernel in kernels]
    has_barrier = any(kernel.kind == "grid" for kernel in kernels)
    barrier = [BARRIER_SOURCE.strip("\n")] if has_barrier else []
    parts = [
        "\n".join(file_header(variant)),
        *barrier,
        *collect_functions("\n".join(sources)),
        *sources,
    ]
    return "\n\n\n".join(parts) + "\n"
