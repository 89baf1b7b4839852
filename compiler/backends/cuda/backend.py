"""Backend `cuda`: run a plan in generated Triton kernels, or the whole model in cuDNN."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import torch
from torch import Tensor

from rnnc.compiler.backends.aten.plan_runner import PlanRunner
from rnnc.compiler.backends.backend import Options, Residuals
from rnnc.compiler.backends.cuda.autotune.strategy_report import (
    default_device_context,
    describe_strategy,
)
from rnnc.compiler.backends.cuda.autotune.strategy_selection import select_strategies
from rnnc.compiler.backends.cuda.autotune.tuning_lookup import cudnn_batches, is_cudnn_faster
from rnnc.compiler.backends.cuda.codegen.kernel_arguments import KernelVariant
from rnnc.compiler.backends.cuda.codegen.kernel_file import generate_kernel_file
from rnnc.compiler.backends.cuda.codegen.triton_build import (
    is_interpreted,
    triton_unavailable_reason,
)
from rnnc.compiler.backends.cuda.cudnn.cudnn_layers import CudnnLayers
from rnnc.compiler.backends.cuda.execution.engine import CudaEngine
from rnnc.compiler.backends.cuda.execution.oom_retry import OomRetry, attempt
from rnnc.compiler.backends.cuda.schedule.device_limits import unsupported_device_reason
from rnnc.compiler.backends.cuda.schedule.loop_strategy import forced_strategy
from rnnc.compiler.backends.warn_once import warn_once
from rnnc.compiler.calls.flattening import TensorKey
from rnnc.compiler.calls.sequence_masks import like_of
from rnnc.compiler.errors import Unsupported
from rnnc.compiler.plan_cache import PlanCache
from rnnc.compiler.schedule.plan import Phase, Plan
from rnnc.operators.graph.operator_graph import OperatorGraph
from rnnc.operators.semantics.call import Call, CallResult

CUDNN_NOTE: Final = 2
"""Last entry of `Residuals.metadata` after a cuDNN forward pass; `OomRetry` writes 0 or 1."""


class CudaBackend:
    """The backend of NVIDIA GPUs: generated kernels, with cuDNN where it was measured faster."""

    name = "cuda"
    supports_autocast = True

    def __init__(self, graph: OperatorGraph, options: Options) -> None:
        self.graph, self.options = graph, options
        engine = CudaEngine()
        default_plans, lean_plans = (
            PlanCache(graph, memory=memory, sink_elementwise=True, without=options.without)
            for memory in (options.memory, "recompute")
        )
        self._plan_runner = PlanRunner(graph, default_plans, engine)
        self._oom_retry = OomRetry(self._plan_runner, PlanRunner(graph, lean_plans, engine), engine)
        self._cudnn_layers = CudnnLayers(graph)
        self._lock = threading.Lock()
        self._source: str | None = None
        self._unsupported = ""

    def __deepcopy__(self, memo: dict[int, Any]) -> CudaBackend:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return CudaBackend, (self.graph, self.options)

    def unsupported_reason(self, like: Tensor) -> str:
        """Return why the device, the dtype, Triton or an operation rules the backend out; or ""."""
        triton_reason = triton_unavailable_reason()
        interpreted = not triton_reason and is_interpreted()
        if like.device.type != "cuda" and not interpreted:
            return f"it runs on NVIDIA's GPUs, not on {like.device}"
        if triton_reason:
            return triton_reason
        dtypes = {torch.float32, torch.float16, torch.bfloat16}
        if interpreted:
            dtypes = {torch.float64, torch.float32, torch.float16}
        if like.dtype not in dtypes:
            return f"no kernels for {like.dtype}"
        if self.graph.has_windows and like.element_size() == 2:
            return f"no kernels for windows of time in {like.dtype}"
        if not interpreted:
            device_reason = unsupported_device_reason(like.device.index or 0)
            if device_reason:
                return device_reason
        self._generate_source()
        return self._unsupported

    def forward(self, call: Call, wrt: tuple[TensorKey, ...]) -> tuple[CallResult, Residuals]:
        """Run the forward phases, or cuDNN where the tuning table prefers it.

        Raises:
            RnnError: RNN503, when a kernel cannot be built; RNN504, when the GPU fails.
            torch.OutOfMemoryError: when memory runs out again in the retry.
        """
        if self._uses_cudnn(call):
            outcome, _, reason = attempt(lambda: self._cudnn_layers.forward(call, wrt))
            if outcome is not None:
                result, residuals = outcome
                return result, replace(residuals, metadata=(CUDNN_NOTE,)) if wrt else residuals
            warn_once(f"rnnc: on from cuDNN to rnnc's own kernels: {reason}")
        return self._oom_retry.forward(call, wrt)

    def residual_count(self, call: Call, wrt: tuple[TensorKey, ...]) -> int:
        """Return the maximum number of residual tensors of a call."""
        return self._oom_retry.residual_count(call, wrt)

    def backward(
        self,
        call: Call,
        wrt: tuple[TensorKey, ...],
        residuals: Residuals,
        cotangents: Mapping[TensorKey, Tensor | None],
    ) -> Sequence[Tensor | None]:
        """Run the backward phases, or cuDNN's backward pass; raise as `forward` does."""
        if residuals.metadata[-1] == CUDNN_NOTE:
            return self._cudnn_layers.backward(call, wrt, residuals, cotangents)
        return self._oom_retry.backward(call, wrt, residuals, cotangents)

    def _uses_cudnn(self, call: Call) -> bool:
        """Look cuDNN up in the tuning table; False until `rnnc bench --tune` has measured it."""
        layers, like = self._cudnn_layers, like_of(call)
        if layers.stack is None:
            return False

        def key() -> str:
            return layers.tuning_key(like.dtype, call.batch_size)

        return is_cudnn_faster(key, like.device.index) and layers.supports(call)

    def plan(self) -> Plan | None:
        """Return the plan of a training step."""
        return self._plan_runner.training_plan()

    def code(self) -> str:
        """Return the Triton source of a training step without resets and lengths.

        Raises:
            Unsupported: when the graph holds an operation that has no kernel.
        """
        source = self._generate_source()
        if source is None:
            raise Unsupported(self._unsupported)
        return source

    def explain(self, phase: Phase) -> str:
        """Describe the implementation of a phase; for a loop its strategy and the rejected ones."""
        match phase.kind:
            case "once":
                return "torch's library, once a call"
            case "batched":
                return "library products, generated kernels"
            case "scan":
                return "one kernel, a parallel scan over blocks of steps"
            case _:
                strategy = describe_strategy(self._plan_runner.training_plan(), phase)
                return strategy + self._describe_cudnn()

    def _describe_cudnn(self) -> str:
        """List the batch sizes at which cuDNN runs the model, or return ""."""
        if self._cudnn_layers.stack is None:
            return ""
        prefix = self._cudnn_layers.tuning_key_prefix(torch.float32)
        batches = cudnn_batches(default_device_context().device.name, prefix)
        if not batches:
            return ""
        return f"; by cuDNN, measured to be faster: {', '.join(batches)}, no lengths or resets"

    def _generate_source(self) -> str | None:
        """Generate and cache the source of a training step; on failure keep the reason."""
        with self._lock:
            if self._source is None and not self._unsupported:
                try:
                    plan = self._plan_runner.training_plan()
                    context = default_device_context()
                    strategies = select_strategies(plan, context, forced_strategy())
                    self._source = generate_kernel_file(plan, KernelVariant(), strategies).source
                except Unsupported as error:
                    self._unsupported = str(error)
            return self._source
