"""Both passes of a model's calls: each kind of call has its plan, made when it is first met."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from rnnc.compiler.backends.backend import Saved
from rnnc.compiler.calls.flattening import Key
from rnnc.compiler.plan_cache import Planner
from rnnc.compiler.request import Request, all_seeds, training_request
from rnnc.compiler.schedule.plan import Plan
from rnnc.operators.graph.operator_graph import OperatorGraph
from rnnc.operators.semantics.call import Call, Result

from .forward_backward import ATEN, most_saved, run_backward, run_forward
from .interpreter import Engine


class Planned:
    """Runs the calls of one graph by its plans; an engine computes their phases."""

    def __init__(self, graph: OperatorGraph, planner: Planner, engine: Engine = ATEN) -> None:
        self.graph, self.planner, self.engine = graph, planner, engine
        self._plans: dict[tuple[bool, tuple[Key, ...]], Plan] = {}
        self._request = training_request(graph)

    def forward(self, call: Call, wanted: tuple[Key, ...]) -> tuple[Result, Saved]:
        """The forward phases."""
        return run_forward(self.plan(call, wanted), call, wanted, self.engine)

    def saves(self, call: Call, wanted: tuple[Key, ...]) -> int:
        """How many tensors the backward phases read, at most."""
        return most_saved(self.plan(call, wanted)) if wanted else 0

    def backward(
        self,
        call: Call,
        wanted: tuple[Key, ...],
        saved: Saved,
        gradients: Mapping[Key, Tensor | None],
    ) -> list[Tensor | None]:
        """The backward phases."""
        plan = self.plan(call, wanted) if saved.more is None else saved.more
        return run_backward(plan, call, wanted, saved, gradients, self.engine)

    def plan(self, call: Call, wanted: tuple[Key, ...]) -> Plan:
        """The plan of a kind of call."""
        key = (call.training, wanted)
        found = self._plans.get(key)
        if found is None:
            seeds = all_seeds(self.graph) if wanted else frozenset[Key]()
            found = self.planner(Request(training=call.training, gradients=wanted, seeds=seeds))
            self._plans[key] = found
        return found

    def usual(self) -> Plan:
        """The plan of a training step.

        Raises:
            Unsupported: when the graph holds an operation that only the reference knows.
        """
        return self.planner(self._request)
