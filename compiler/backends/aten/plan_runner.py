"""Both passes of a model's calls: each kind of call has its plan, made when it is first met."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from ....operators.call import Call, Result
from ....operators.graph import OperatorGraph
from ...plan import Plan
from ...planner import Planner
from ...request import Request, all_seeds, training_request
from ..backend import Saved
from ..flat import Key
from .execute import Engine
from .function import ATEN, most_saved, run_backward, run_forward


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
