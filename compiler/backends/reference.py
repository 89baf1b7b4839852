"""The operator graph as it stands, one step at a time: what all other backends are held against."""

from __future__ import annotations

from torch import Tensor

from ...operators.call import Call, Result
from ...operators.graph import OperatorGraph
from ...operators.reference import run
from ..plan import Phase, Plan
from .backend import Options


class Reference:
    """Interprets the graph in plain PyTorch; any dtype, any device, derivatives of any order."""

    name = "reference"

    def __init__(self, graph: OperatorGraph, options: Options) -> None:
        self.graph, self.options = graph, options

    def refuses(self, like: Tensor) -> str:
        """It runs everywhere."""
        return ""

    def run(self, call: Call) -> Result:
        """Run one call."""
        return run(call)

    def plan(self) -> Plan | None:
        """It has no plan."""
        return None

    def explain(self, phase: Phase) -> str:
        """It knows no phases."""
        return "one step at a time"
