"""The plan through ATen calls: the backend of every machine without a compiler."""

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
    """Runs plans in torch's own operations, on any device."""

    name = "aten"
    supports_autocast = False

    def __init__(self, graph: OperatorGraph, options: Options) -> None:
        self.graph, self.options = graph, options
        planner = PlanCache(graph, memory=options.memory, without=options.without)
        self._runner = PlanRunner(graph, planner)
        self._runner.training_plan()

    def __deepcopy__(self, memo: dict[int, Any]) -> AtenBackend:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return AtenBackend, (self.graph, self.options)

    def unsupported_reason(self, like: Tensor) -> str:
        """It runs on every device, in real numbers."""
        return "" if like.is_floating_point() else f"no kernels for {like.dtype}"

    def forward(self, call: Call, wrt: tuple[TensorKey, ...]) -> tuple[CallResult, Residuals]:
        """The forward phases."""
        return self._runner.forward(call, wrt)

    def residual_count(self, call: Call, wrt: tuple[TensorKey, ...]) -> int:
        """What the backward phases read."""
        return self._runner.residual_count(call, wrt)

    def backward(
        self,
        call: Call,
        wrt: tuple[TensorKey, ...],
        residuals: Residuals,
        cotangents: Mapping[TensorKey, Tensor | None],
    ) -> Sequence[Tensor | None]:
        """The backward phases."""
        return self._runner.backward(call, wrt, residuals, cotangents)

    def plan(self) -> Plan | None:
        """The plan of a training step."""
        return self._runner.training_plan()

    def explain(self, phase: Phase) -> str:
        """How a phase is computed."""
        match phase.kind:
            case "once":
                return "once a call"
            case "batched":
                return "one call for all steps"
            case "scan":
                return "a scan over blocks of steps"
            case _:
                return "a few calls a step"
