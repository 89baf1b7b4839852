"""The plan through ATen calls: the backend of every machine without a compiler."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from rnnc.compiler.backends.backend import Options, Saved
from rnnc.compiler.calls.flattening import Key
from rnnc.compiler.plan_cache import Planner
from rnnc.compiler.schedule.plan import Phase, Plan
from rnnc.operators.graph.operator_graph import OperatorGraph
from rnnc.operators.semantics.call import Call, Result

from .plan_runner import Planned


class Aten:
    """Runs plans in torch's own operations, on any device."""

    name = "aten"
    obeys_autocast = False

    def __init__(self, graph: OperatorGraph, options: Options) -> None:
        self.graph, self.options = graph, options
        planner = Planner(graph, memory=options.memory, without=options.without)
        self._planned = Planned(graph, planner)
        self._planned.usual()

    def __deepcopy__(self, memo: dict[int, Any]) -> Aten:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return Aten, (self.graph, self.options)

    def refuses(self, like: Tensor) -> str:
        """It runs on every device, in real numbers."""
        return "" if like.is_floating_point() else f"no kernels for {like.dtype}"

    def forward(self, call: Call, wanted: tuple[Key, ...]) -> tuple[Result, Saved]:
        """The forward phases."""
        return self._planned.forward(call, wanted)

    def saves(self, call: Call, wanted: tuple[Key, ...]) -> int:
        """What the backward phases read."""
        return self._planned.saves(call, wanted)

    def backward(
        self,
        call: Call,
        wanted: tuple[Key, ...],
        saved: Saved,
        gradients: Mapping[Key, Tensor | None],
    ) -> Sequence[Tensor | None]:
        """The backward phases."""
        return self._planned.backward(call, wanted, saved, gradients)

    def plan(self) -> Plan | None:
        """The plan of a training step."""
        return self._planned.usual()

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
