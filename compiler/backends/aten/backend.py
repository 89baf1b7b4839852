"""ATen backend: executes plans on any device, without a compiler."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from rnnc.compiler.backends.backend import Options, Residuals
from rnnc.compiler.calls.flattening import TensorKey
from rnnc.compiler.plan_cache import PlanCache
from rnnc.compiler.schedule.plan import Phase, Plan
from rnnc.operators.graph.operator_graph import OperatorGraph
from rnnc.operators.semantics.call import Call, CallResult

from .plan_runner import PlanRunner


class AtenBackend:
    """Backend that executes plans with torch's own operations, on any device."""

    name = "aten"
    supports_autocast = False

    def __init__(self, graph: OperatorGraph, options: Options) -> None:
        self.graph, self.options = graph, options
        plans = PlanCache(graph, memory=options.memory, without=options.without)
        self._runner = PlanRunner(graph, plans)
        self._runner.training_plan()

    def __deepcopy__(self, memo: dict[int, Any]) -> AtenBackend:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return AtenBackend, (self.graph, self.options)

    def unsupported_reason(self, like: Tensor) -> str:
        """Return the reason why a dtype is unsupported; empty for floating-point dtypes."""
        return "" if like.is_floating_point() else f"no kernels for {like.dtype}"

    def forward(self, call: Call, wrt: tuple[TensorKey, ...]) -> tuple[CallResult, Residuals]:
        """Run the forward phases and return the result with its residuals."""
        return self._runner.forward(call, wrt)

    def residual_count(self, call: Call, wrt: tuple[TensorKey, ...]) -> int:
        """Return the largest number of residual tensors."""
        return self._runner.residual_count(call, wrt)

    def backward(
        self,
        call: Call,
        wrt: tuple[TensorKey, ...],
        residuals: Residuals,
        cotangents: Mapping[TensorKey, Tensor | None],
    ) -> Sequence[Tensor | None]:
        """Run the backward phases and return one gradient per key of `wrt`."""
        return self._runner.backward(call, wrt, residuals, cotangents)

    def plan(self) -> Plan | None:
        """Return the plan of a training step."""
        return self._runner.training_plan()

    def explain(self, phase: Phase) -> str:
        """Describe in a few words how a phase is executed."""
        match phase.kind:
            case "once":
                return "once a call"
            case "batched":
                return "one call for all steps"
            case "scan":
                return "a scan over blocks of steps"
            case _:
                return "a few calls a step"
