"""Run the phases of a plan on a GPU: generated kernels, and library calls between them."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from typing import Any

from rnnc.compiler.backends.aten.batched_phase import run_batched
from rnnc.compiler.backends.aten.buffers import AtenMemory
from rnnc.compiler.backends.cuda.autotune.strategy_selection import select_strategies
from rnnc.compiler.backends.cuda.codegen.kernel_arguments import KernelVariant
from rnnc.compiler.backends.cuda.codegen.kernel_file import KernelFile, generate_kernel_file
from rnnc.compiler.backends.cuda.codegen.triton_kernel import TritonKernel
from rnnc.compiler.backends.cuda.schedule.loop_strategy import (
    LoopStrategy,
    StrategyChoice,
    forced_strategy,
)
from rnnc.compiler.backends.warn_once import warn_once
from rnnc.compiler.calls.sequence_masks import SequenceMasks, like_of
from rnnc.compiler.request import PlanRequest
from rnnc.compiler.schedule.plan import Phase, Plan
from rnnc.operators.semantics.call import Call

from .buffers import CudaMemory
from .cooperative_launch import CooperativeLaunches, run_cooperative
from .cuda_graphs import CudaGraphCache, run_steps
from .error_classification import launch_failure_reason
from .kernel_launch import bind_kernel, device_context, kernel_variant
from .library_ops import run_library_ops


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
            choice.strategy
            for file in self._kernel_files.values()
            for choice in file.strategies.values()
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
        context = device_context(memory)
        forced = "graph" if self._persistent_disabled else forced_strategy()
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
                kernel_groups = file.batched_kernels[phase.id]
                for group, kernels in zip(phase.groups, kernel_groups, strict=True):
                    run_library_ops(group, memory)
                    for kernel in kernels:
                        self._launch(file, kernel, memory)
            elif phase.kind == "scan":
                for kernel in file.loop_kernels[phase.id]:
                    self._launch(file, kernel, memory)
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
        launches = [bind_kernel(file, kernel, memory) for kernel in kernels]
        sizes = (memory.call.steps, memory.call.batch_size)
        match kernels[0].kind:
            case "chip":
                launches[0](*sizes)
            case "grid":
                groups, device = launches[0].grid[1], memory.like.device
                run_cooperative(
                    launches[0],
                    kernels[0].levels,
                    groups,
                    sizes,
                    self._cooperative_launches,
                    device,
                )
            case _:
                run_steps(launches, *sizes, self._graphs)

    def _launch(self, file: KernelFile, kernel: TritonKernel, memory: CudaMemory) -> None:
        if memory.call.steps and memory.call.batch_size:
            bind_kernel(file, kernel, memory)(memory.call.steps, memory.call.batch_size)
