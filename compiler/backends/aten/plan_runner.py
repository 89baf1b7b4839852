"""Both passes of a model's calls: each kind of call has its plan, made when it is first met."""

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
    """Runs the calls of one graph by its plans; an engine computes their phases."""

    def __init__(
        self, graph: OperatorGraph, planner: PlanCache, engine: Engine = ATEN_ENGINE
    ) -> None:
        self.graph, self.planner, self.engine = graph, planner, engine
        self._plans: dict[tuple[bool, tuple[TensorKey, ...]], Plan] = {}
        self._request = training_request(graph)

    def forward(self, call: Call, wrt: tuple[TensorKey, ...]) -> tuple[CallResult, Residuals]:
        """The forward phases."""
        return run_forward(self.plan_for(call, wrt), call, wrt, self.engine)

    def residual_count(self, call: Call, wrt: tuple[TensorKey, ...]) -> int:
        """How many tensors the backward phases read, at most."""
        return residual_count(self.plan_for(call, wrt)) if wrt else 0

    def backward(
        self,
        call: Call,
        wrt: tuple[TensorKey, ...],
        residuals: Residuals,
        cotangents: Mapping[TensorKey, Tensor | None],
    ) -> list[Tensor | None]:
        """The backward phases."""
        plan = self.plan_for(call, wrt) if residuals.context is None else residuals.context
        return run_backward(plan, call, wrt, residuals, cotangents, self.engine)

    def plan_for(self, call: Call, wrt: tuple[TensorKey, ...]) -> Plan:
        """The plan of a kind of call."""
        key = (call.training, wrt)
        found = self._plans.get(key)
        if found is None:
            seeds = all_cotangents(self.graph) if wrt else frozenset[TensorKey]()
            found = self.planner(
                PlanRequest(training=call.training, gradients=wrt, cotangents=seeds)
            )
            self._plans[key] = found
        return found

    def training_plan(self) -> Plan:
        """The plan of a training step.

        Raises:
            Unsupported: when the graph holds an operation that only the reference knows.
        """
        return self.planner(self._request)
