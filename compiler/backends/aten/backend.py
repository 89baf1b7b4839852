"""The plan through ATen calls: the backend of every machine without a compiler."""

from __future__ import annotations

from torch import Tensor

from ....operators.call import Call, Result
from ....operators.graph import OperatorGraph
from ....operators.reference import run as run_reference
from ...plan import Phase, Plan
from ...planner import Planner
from ...request import training_request
from ..backend import Options
from .function import is_transformed, run


class Aten:
    """Runs plans in torch's own operations, on any device."""

    name = "aten"

    def __init__(self, graph: OperatorGraph, options: Options) -> None:
        self.graph, self.options = graph, options
        self._planner = Planner(graph, memory=options.memory, without=options.without)
        self._request = training_request(graph)
        self._planner(self._request)

    def refuses(self, like: Tensor) -> str:
        """It runs on every device, in real numbers."""
        return "" if like.is_floating_point() else f"no kernels for {like.dtype}"

    def run(self, call: Call) -> Result:
        """Run one call; transforms of functions (`torch.func`) see through the reference alone."""
        if is_transformed():
            return run_reference(call)
        return run(self._planner, call)

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
