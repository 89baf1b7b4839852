"""Describe the strategy of a loop in words, for `inspect --plan`.

The text names the strategy, its use of registers and shared memory, and why faster strategies
were rejected.
"""

from __future__ import annotations

from rnnc.compiler.backends.cuda.codegen.kernel_arguments import KernelVariant
from rnnc.compiler.backends.cuda.codegen.kernel_file import (
    format_kernel_file,
    generate_loop_kernels,
)
from rnnc.compiler.backends.cuda.codegen.triton_build import (
    is_interpreted,
    triton_unavailable_reason,
)
from rnnc.compiler.backends.cuda.schedule.device_limits import (
    H200,
    DeviceLimits,
    query_device_limits,
)
from rnnc.compiler.backends.cuda.schedule.loop_strategy import (
    StrategyChoice,
    choose_strategy,
    forced_strategy,
)
from rnnc.compiler.backends.cuda.schedule.matmul_precision import float32_matmul_precision
from rnnc.compiler.backends.cuda.schedule.persistent_layout import DeviceContext
from rnnc.compiler.errors import Unsupported
from rnnc.compiler.schedule.plan import Phase, Plan

from .kernel_resources import KernelResources, measure_resources
from .tile_sizes import default_tiling
from .tuning_lookup import slower_strategies


def default_device_context() -> DeviceContext:
    """Return the context of float32 calls on the local GPU, or on an H200 if there is none."""
    return DeviceContext(_local_device()[0], 4, float32_matmul_precision())


def describe_strategy(plan: Plan, phase: Phase) -> str:
    """Describe the strategy of a float32 loop on the local GPU, or on an H200 if there is none.

    Raises:
        RnnError: when the environment forces a strategy that does not fit (RNN501).
    """
    context, (device, is_local) = default_device_context(), _local_device()
    forced = forced_strategy()
    slower = {} if forced else slower_strategies(plan, phase, context)
    choice = choose_strategy(plan, phase, context, forced, slower)
    device_text = f"float32 on {device.name}" + ("" if is_local else " (there is no GPU here)")
    rejected = "".join(f"; not {strategy}: {reason}" for strategy, reason in choice.rejected)
    resources = _describe_resources(plan, phase, context, choice)
    return f"tier {choice.strategy}{_describe_slices(choice)}, {device_text}{resources}{rejected}"


def _describe_slices(choice: StrategyChoice) -> str:
    """Name the number of programs that share a row, if it is more than one."""
    if choice.layout is None or choice.layout.slices == 1:
        return ""
    sharing = (
        "of independent columns" if choice.strategy == "chip" else "that meet after each product"
    )
    return f" ({choice.layout.slices} programs a row, {sharing})"


def _local_device() -> tuple[DeviceLimits, bool]:
    """Return the local GPU's limits and True, or those of an H200 and False."""
    import torch

    try:
        if torch.version.hip is None and torch.cuda.is_available():
            return query_device_limits(torch.cuda.current_device()), True
    except (RuntimeError, AssertionError):
        pass  # `unsupported_device_reason` reports a GPU that does not answer.
    return H200, False


def _describe_resources(
    plan: Plan, phase: Phase, context: DeviceContext, choice: StrategyChoice
) -> str:
    """Describe registers, shared memory and occupancy; only an estimate where nothing compiles."""
    try:
        kernels = generate_loop_kernels(plan, phase, KernelVariant(), choice)
        if triton_unavailable_reason() or is_interpreted():
            raise RuntimeError("nothing compiles here")
        source = format_kernel_file(kernels, KernelVariant())
        target = (context.device, "float32", context.precision)
        compiled = [
            (kernel, measure_resources(kernel, source, default_tiling(kernel, 4), *target))
            for kernel in kernels
        ]
    except (Unsupported, RuntimeError):
        if choice.layout is None:
            return ""
        kib = choice.layout.shared_memory // 1024
        return f", about {kib} KB of shared memory a program by estimate"
    descriptions = []
    for kernel, resources in compiled:
        threads = 32 * default_tiling(kernel, 4).warps
        occupancy = context.device.resident_programs(
            resources.registers, resources.shared_memory, threads
        )
        descriptions.append(_format_resources(resources, occupancy))
    return "".join(f", {description}" for description in dict.fromkeys(descriptions))


def _format_resources(resources: KernelResources, occupancy: int) -> str:
    spills = f" ({resources.spilled_bytes} bytes spilled)" if resources.spilled_bytes else ""
    return (
        f"{resources.registers} registers a thread{spills} and "
        f"{-(-resources.shared_memory // 1024)} KB of shared memory a program, "
        f"{occupancy} at a time on a multiprocessor"
    )
