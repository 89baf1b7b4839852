"""Run the phases of a plan on a GPU: generated kernels, and library calls between them."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from rnnc.compiler.backends.aten.batched_phase import run_batched
from rnnc.compiler.backends.aten.buffers import AtenMemory
from rnnc.compiler.backends.cuda.autotune.kernel_resources import compile_options
from rnnc.compiler.backends.cuda.autotune.strategy_selection import select_strategies
from rnnc.compiler.backends.cuda.autotune.tile_sizes import default_tiling
from rnnc.compiler.backends.cuda.autotune.tuning_table import tuned_tiling
from rnnc.compiler.backends.cuda.codegen.kernel_arguments import KernelVariant
from rnnc.compiler.backends.cuda.codegen.kernel_file import KernelFile, generate_kernel_file
from rnnc.compiler.backends.cuda.codegen.stage_kernels import TritonKernel
from rnnc.compiler.backends.cuda.codegen.triton_build import load_functions
from rnnc.compiler.backends.cuda.schedule.device_limits import H200, query_device_limits
from rnnc.compiler.backends.cuda.schedule.loop_strategy import (
    LoopStrategy,
    StrategyChoice,
    forced_strategy,
    launch_failure_reason,
)
from rnnc.compiler.backends.cuda.schedule.matmul_precision import matmul_precision
from rnnc.compiler.backends.cuda.schedule.persistent_layout import DeviceContext
from rnnc.compiler.backends.warn_once import warn_once
from rnnc.compiler.calls.sequence_masks import SequenceMasks, like_of
from rnnc.compiler.request import PlanRequest
from rnnc.compiler.schedule.plan import Phase, Plan
from rnnc.operators.semantics.call import Call

from .buffers import CudaMemory
from .cooperative_launch import CooperativeLaunches, run_cooperative
from .cuda_graphs import CudaGraphCache, run_steps
from .library_ops import run_library_ops


@dataclass(frozen=True)
class BoundKernel:
    """A kernel bound to the tensors and the grid of one call, launchable any number of times."""

    function: Any
    tensors: tuple[Tensor, ...]
    grid: tuple[int, int]
    options: dict[str, Any]

    @property
    def capture_key(self) -> tuple[Any, ...]:
        """Return everything that a CUDA graph of this launch depends on."""
        addresses = tuple(tensor.data_ptr() for tensor in self.tensors)
        return (id(self.function), self.grid, tuple(self.options.items()), addresses)

    def __call__(self, *leading: Any, **trailing: Any) -> None:
        """Launch the kernel; `leading` come before its tensors, `trailing` after them."""
        self.function[self.grid](*leading, *self.tensors, **self.options, **trailing)


class CudaEngine:
    """The engine of backend `cuda`; thread-safe, shared by all calls of a model."""

    def __init__(self) -> None:
        self._kernel_files: dict[tuple[Any, ...], KernelFile] = {}
        self._strategies: dict[tuple[Any, ...], dict[int, StrategyChoice]] = {}
        self._rejected: dict[
            tuple[PlanRequest, KernelVariant], dict[int, dict[LoopStrategy, str]]
        ] = {}
        self._lock = threading.Lock()
        self._graphs = CudaGraphCache()
        self._cooperative_launches = CooperativeLaunches()
        self._persistent_disabled = False

    def release_caches(self) -> None:
        """Release all CUDA graphs, each of which owns a memory pool."""
        self._graphs.clear()

    def disable_persistent_kernels(self, reason: str) -> bool:
        """Run every loop as CUDA graphs from now on, because a kernel cannot be built; warn once.

        Returns: False if no persistent kernel was in use, or the environment forces a strategy.
        """
        strategies = {
            tier.strategy
            for program in self._kernel_files.values()
            for tier in program.strategies.values()
        }
        if self._persistent_disabled or forced_strategy() or strategies <= {"graph"}:
            return False
        self._persistent_disabled = True
        warn_once(
            f"rnnc: on to tier graph, which is slower: Triton cannot build a kernel: {reason}"
        )
        return True

    def create_buffers(self, plan: Plan, call: Call) -> CudaMemory:
        """Return the buffers of a call before its first phase."""
        like = like_of(call).detach()
        return CudaMemory(plan, call, like, SequenceMasks(call, like))

    def kernel_file(self, memory: AtenMemory) -> KernelFile:
        """Return the kernels of a call, generated at the first such call.

        Raises:
            RnnError: when the environment forces a strategy that does not fit (RNN501).
        """
        plan, variant = memory.plan, kernel_variant(memory)
        context, forced = (
            device_context(memory),
            "graph" if self._persistent_disabled else forced_strategy(),
        )
        with self._lock:
            rejected = self._rejected.setdefault((plan.request, variant), {})
            strategy_key = (plan.request, variant, context, forced, str(rejected))
            if strategy_key not in self._strategies:
                self._strategies[strategy_key] = select_strategies(plan, context, forced, rejected)
            strategies = self._strategies[strategy_key]
            file_key = (plan.request, variant, tuple(strategies.items()))
            if file_key not in self._kernel_files:
                self._kernel_files[file_key] = generate_kernel_file(plan, variant, strategies)
            return self._kernel_files[file_key]

    def run_phases(self, phases: Iterable[Phase], memory: AtenMemory) -> None:
        """Run phases in order, and free each buffer after its last use."""
        assert isinstance(memory, CudaMemory)
        self._cooperative_launches.check()
        file = self.kernel_file(memory)
        for phase in phases:
            for value_id in phase.values:
                value = memory.values[value_id]
                if value.operation == "state":
                    memory.fill_margins(value)
            if phase.kind == "once":
                run_batched(phase, memory)
            elif phase.kind == "batched":
                for group, kernels in zip(
                    phase.groups, file.batched_kernels[phase.id], strict=True
                ):
                    run_library_ops(group, memory)
                    for kernel in kernels:
                        self._launch(file, kernel, memory, memory.call.steps)
            elif phase.kind == "scan":
                for kernel in file.loop_kernels[phase.id]:
                    self._launch(file, kernel, memory, memory.call.steps)
            elif memory.call.steps and memory.call.batch_size:
                file = self._run_loop(file, phase.id, memory)
            memory.free_after(phase.id, frozenset())

    def _run_loop(self, file: KernelFile, phase_id: int, memory: CudaMemory) -> KernelFile:
        """Run a loop, by the next strategy if a launch fails; return the kernels that ran."""
        while True:
            strategy = file.strategies[phase_id].strategy
            try:
                self._run_loop_kernels(file, file.loop_kernels[phase_id], memory)
                return file
            except Exception as error:
                reason = launch_failure_reason(error) if strategy != "graph" else ""
                if not reason:
                    raise
            with self._lock:
                rejected = self._rejected[memory.plan.request, kernel_variant(memory)]
                rejected.setdefault(phase_id, {})[strategy] = reason
            file = self.kernel_file(memory)

    def _run_loop_kernels(
        self, file: KernelFile, kernels: Sequence[TritonKernel], memory: CudaMemory
    ) -> None:
        launches = [self.bind_kernel(file, kernel, memory) for kernel in kernels]
        sizes = (memory.call.steps, memory.call.batch_size)
        match kernels[0].kind:
            case "chip":
                launches[0](*sizes)
            case "grid":
                groups, device = launches[0].grid[1], memory.like.device
                run_cooperative(
                    launches[0],
                    kernels[0].matmuls,
                    groups,
                    sizes,
                    self._cooperative_launches,
                    device,
                )
            case _:
                run_steps(launches, *sizes, self._graphs)

    def bind_kernel(
        self, file: KernelFile, kernel: TritonKernel, memory: CudaMemory
    ) -> BoundKernel:
        """Bind a kernel to the tensors of a call, with its grid and tile sizes."""
        call, like = memory.call, memory.like
        tuned = tuned_tiling(kernel, like.element_size(), like.device.index)
        tiling = tuned or default_tiling(kernel, like.element_size())
        tensors = tuple(argument.bind(memory) for argument in kernel.arguments)
        row_count = call.batch_size
        if kernel.kind == "rows":
            row_count *= call.steps
        grid = tiling.grid(row_count, kernel.width)
        if kernel.kind == "scan":
            grid = (call.batch_size, grid[1])
        elif kernel.layout is not None:
            slices = kernel.layout.slices
            grid = (grid[0], slices)
            if kernel.kind == "grid":
                grid = (
                    slices,
                    kernel.layout.row_groups(call.batch_size, device_context(memory).device),
                )
        options = {"PRECISION": matmul_precision(memory.like.dtype), "BM": tiling.rows}
        if kernel.layout is None:
            options |= {"BN": tiling.columns, "BK": tiling.depth}
        options |= compile_options(kernel, tiling)
        return BoundKernel(load_functions(file.source)[kernel.name], tensors, grid, options)

    def _launch(
        self, file: KernelFile, kernel: TritonKernel, memory: CudaMemory, steps: int
    ) -> None:
        if steps and memory.call.batch_size:
            self.bind_kernel(file, kernel, memory)(steps, memory.call.batch_size)


def device_context(memory: AtenMemory) -> DeviceContext:
    """Return the context that selects the strategies of a call; an H200's in the interpreter."""
    like = memory.like
    device = query_device_limits(like.device.index or 0) if like.device.type == "cuda" else H200
    is_capturing = like.device.type == "cuda" and torch.cuda.is_current_stream_capturing()
    element_size = min(4, like.element_size())
    return DeviceContext(
        device, element_size, matmul_precision(like.dtype), memory.call.batch_size, is_capturing
    )


def kernel_variant(memory: AtenMemory) -> KernelVariant:
    """Return the variant of the kernels that a call needs."""
    call, dtype = memory.call, memory.like.dtype
    return KernelVariant(
        resets=call.resets is not None,
        lengths=call.lengths is not None,
        compute_dtype="float64" if dtype == torch.float64 else "float32",
        tiny=torch.finfo(dtype).tiny,
    )
