"""The plans of one graph, each made once, when it is first asked for."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any

from rnnc.compiler.schedule.plan import Plan
from rnnc.operators.graph.operator_graph import OperatorGraph

from .pipeline import build_plan
from .request import MemoryPolicy, PlanRequest


class PlanCache:
    """Makes and remembers plans; shared by copies of a model, safe in several threads."""

    def __init__(
        self,
        graph: OperatorGraph,
        *,
        memory: MemoryPolicy = "save",
        sink_elementwise: bool = False,
        without: frozenset[str] = frozenset(),
    ) -> None:
        self.graph = graph
        self.memory, self.sink_elementwise, self.without = memory, sink_elementwise, without
        self._plans: dict[PlanRequest, Plan] = {}
        self._lock = threading.Lock()

    def __call__(self, request: PlanRequest) -> Plan:
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
                        request,
                        memory=self.memory,
                        sink_elementwise=self.sink_elementwise,
                        without=self.without,
                    )
                    known = self._plans[request] = build_plan(self.graph, whole)
        return known

    def __deepcopy__(self, memo: dict[int, Any]) -> PlanCache:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (self.graph, self.memory, self.sink_elementwise, self.without)


def _rebuild(
    graph: OperatorGraph, memory: MemoryPolicy, sink_elementwise: bool, without: frozenset[str]
) -> PlanCache:
    return PlanCache(graph, memory=memory, sink_elementwise=sink_elementwise, without=without)
