"""Run the calls of one graph by plans that are made at the first call of each kind."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from rnnc.compiler.backends.backend import Residuals
from rnnc.compiler.calls.flattening import TensorKey
from rnnc.compiler.plan_cache import PlanCache
from rnnc.compiler.request import PlanRequest, all_cotangents, training_request
from rnnc.compiler.schedule.plan import Plan
from rnnc.operators.graph.operator_graph import OperatorGraph
from rnnc.operators.semantics.call import Call, CallResult

from .forward_backward import ATEN_ENGINE, residual_count, run_backward, run_forward
from .interpreter import Engine


class PlanRunner:
    """Runner of the calls of one graph: selects the plan, an engine executes its phases."""

    def __init__(
        self, graph: OperatorGraph, planner: PlanCache, engine: Engine = ATEN_ENGINE
    ) -> None:
        self.graph, self.planner, self.engine = graph, planner, engine
        self._plans: dict[tuple[bool, tuple[TensorKey, ...]], Plan] = {}
        self._request = training_request(graph)

    def forward(self, call: Call, wrt: tuple[TensorKey, ...]) -> tuple[CallResult, Residuals]:
        """Run the forward phases and return the result with its residuals."""
        return run_forward(self.plan_for(call, wrt), call, wrt, self.engine)

    def residual_count(self, call: Call, wrt: tuple[TensorKey, ...]) -> int:
        """Return the largest number of residual tensors."""
        return residual_count(self.plan_for(call, wrt)) if wrt else 0

    def backward(
        self,
        call: Call,
        wrt: tuple[TensorKey, ...],
        residuals: Residuals,
        cotangents: Mapping[TensorKey, Tensor | None],
    ) -> list[Tensor | None]:
        """Run the backward phases and return one gradient per key of `wrt`."""
        plan = self.plan_for(call, wrt) if residuals.context is None else residuals.context
        return run_backward(plan, call, wrt, residuals, cotangents, self.engine)

    def plan_for(self, call: Call, wrt: tuple[TensorKey, ...]) -> Plan:
        """Return the plan for a call's training mode and wanted gradients."""
        key = (call.training, wrt)
        plan = self._plans.get(key)
        if plan is None:
            cotangents = all_cotangents(self.graph) if wrt else frozenset[TensorKey]()
            plan = self.planner(
                PlanRequest(training=call.training, gradients=wrt, cotangents=cotangents)
            )
            self._plans[key] = plan
        return plan

    def training_plan(self) -> Plan:
        """Return the plan of a training step.

        Raises:
            Unsupported: when the graph holds an operation that only the reference knows.
        """
        return self.planner(self._request)
