"""The plans of one graph, each made once, when it is first asked for."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any

from rnnc.compiler.schedule.plan import Plan
from rnnc.operators.graph.operator_graph import OperatorGraph

from .pipeline import plan_for
from .request import Memory, Request


class Planner:
    """Makes and remembers plans; shared by copies of a model, safe in several threads."""

    def __init__(
        self,
        graph: OperatorGraph,
        *,
        memory: Memory = "save",
        sink: bool = False,
        without: frozenset[str] = frozenset(),
    ) -> None:
        self.graph = graph
        self.memory, self.sink, self.without = memory, sink, without
        self._plans: dict[Request, Plan] = {}
        self._lock = threading.Lock()

    def __call__(self, request: Request) -> Plan:
        """The plan for a request, with this planner's memory, sink and passes.

        Raises:
            Unsupported: when the graph holds an operation that only the reference knows.
        """
        known = self._plans.get(request)
        if known is None:
            with self._lock:
                known = self._plans.get(request)
                if known is None:
                    whole = replace(
                        request, memory=self.memory, sink=self.sink, without=self.without
                    )
                    known = self._plans[request] = plan_for(self.graph, whole)
        return known

    def __deepcopy__(self, memo: dict[int, Any]) -> Planner:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return _made, (self.graph, self.memory, self.sink, self.without)


def _made(graph: OperatorGraph, memory: Memory, sink: bool, without: frozenset[str]) -> Planner:
    return Planner(graph, memory=memory, sink=sink, without=without)
