"""The plan through ATen calls: the backend of every machine without a compiler."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from ....operators.call import Call, Result
from ....operators.graph import OperatorGraph
from ...plan import Phase, Plan
from ...planner import Planner
from ...request import Request, all_seeds, training_request
from ..backend import Options, Saved
from ..flat import Key
from .function import most_saved, run_backward, run_forward


class Aten:
    """Runs plans in torch's own operations, on any device."""

    name = "aten"
    obeys_autocast = False

    def __init__(self, graph: OperatorGraph, options: Options) -> None:
        self.graph, self.options = graph, options
        self._planner = Planner(graph, memory=options.memory, without=options.without)
        self._plans: dict[tuple[bool, tuple[Key, ...]], Plan] = {}
        self._request = training_request(graph)
        self._planner(self._request)

    def __deepcopy__(self, memo: dict[int, Any]) -> Aten:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return Aten, (self.graph, self.options)

    def refuses(self, like: Tensor) -> str:
        """It runs on every device, in real numbers."""
        return "" if like.is_floating_point() else f"no kernels for {like.dtype}"

    def forward(self, call: Call, wanted: tuple[Key, ...]) -> tuple[Result, Saved]:
        """The forward phases."""
        return run_forward(self._plan(call, wanted), call, wanted)

    def saves(self, call: Call, wanted: tuple[Key, ...]) -> int:
        """What the backward phases read."""
        return most_saved(self._plan(call, wanted)) if wanted else 0

    def backward(
        self,
        call: Call,
        wanted: tuple[Key, ...],
        saved: Saved,
        gradients: Mapping[Key, Tensor | None],
    ) -> Sequence[Tensor | None]:
        """The backward phases."""
        plan = self._plan(call, wanted) if saved.more is None else saved.more
        return run_backward(plan, call, wanted, saved, gradients)

    def _plan(self, call: Call, wanted: tuple[Key, ...]) -> Plan:
        key = (call.training, wanted)
        found = self._plans.get(key)
        if found is None:
            seeds = all_seeds(self.graph) if wanted else frozenset[Key]()
            found = self._planner(Request(training=call.training, gradients=wanted, seeds=seeds))
            self._plans[key] = found
        return found

    def plan(self) -> Plan | None:
        """The plan of a training step."""
        return self._planner(self._request)

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
