"""Cache of a graph's plans: each is built at its first request."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any

from rnnc.compiler.schedule.plan import Plan
from rnnc.operators.graph.operator_graph import OperatorGraph

from .pipeline import build_plan
from .request import MemoryPolicy, PlanRequest


class PlanCache:
    """The plans of one graph by request; thread-safe, and shared by copies of a model."""

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
        """Return the plan of a request, under this cache's memory policy and passes.

        Raises:
            Unsupported: when the graph holds an operation that only the reference knows.
        """
        plan = self._plans.get(request)
        if plan is None:
            with self._lock:
                plan = self._plans.get(request)
                if plan is None:
                    plan = self._plans[request] = build_plan(
                        self.graph,
                        replace(
                            request,
                            memory=self.memory,
                            sink_elementwise=self.sink_elementwise,
                            without=self.without,
                        ),
                    )
        return plan

    def __deepcopy__(self, memo: dict[int, Any]) -> PlanCache:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (self.graph, self.memory, self.sink_elementwise, self.without)


def _rebuild(
    graph: OperatorGraph, memory: MemoryPolicy, sink_elementwise: bool, without: frozenset[str]
) -> PlanCache:
    return PlanCache(graph, memory=memory, sink_elementwise=sink_elementwise, without=without)
