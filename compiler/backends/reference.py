"""The operator graph as it stands, one step at a time: what all other backends are held against."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from torch import Tensor

from rnnc.compiler.calls.flattening import TensorKey, flatten, unflatten
from rnnc.compiler.calls.torch_gradients import reference_gradients
from rnnc.compiler.schedule.plan import Phase, Plan
from rnnc.operators.graph.operator_graph import OperatorGraph
from rnnc.operators.semantics.call import Call, CallResult
from rnnc.operators.semantics.interpreter import interpret

from .backend import Options, Residuals


class ReferenceBackend:
    """Interprets the graph in plain PyTorch; any dtype, any device, derivatives of any order."""

    name = "reference"
    supports_autocast = False

    def __init__(self, graph: OperatorGraph, options: Options) -> None:
        self.graph, self.options = graph, options

    def unsupported_reason(self, like: Tensor) -> str:
        """It runs everywhere."""
        return ""

    def forward(self, call: Call, wrt: tuple[TensorKey, ...]) -> tuple[CallResult, Residuals]:
        """Run one call; nothing is saved."""
        return interpret(call), Residuals()

    def residual_count(self, call: Call, wrt: tuple[TensorKey, ...]) -> int:
        """Nothing."""
        return 0

    def backward(
        self,
        call: Call,
        wrt: tuple[TensorKey, ...],
        residuals: Residuals,
        cotangents: Mapping[TensorKey, Tensor | None],
    ) -> Sequence[Tensor | None]:
        """Run the call again, and back through it.

        Inside of an operator of torch nothing is recorded for autograd, in its own thread.
        """
        keys, tensors = flatten(call)
        own = [t.detach().requires_grad_(k in wrt) for k, t in zip(keys, tensors, strict=True)]
        sources = [t for k, t in zip(keys, own, strict=True) if k in wrt]
        given = tuple(cotangents.values())

        def work() -> Sequence[Tensor | None]:
            return reference_gradients(
                unflatten(call, keys, own), sources, given, create_graph=False
            )

        with ThreadPoolExecutor(1) as other:
            return other.submit(work).result()

    def plan(self) -> Plan | None:
        """It has no plan."""
        return None

    def explain(self, phase: Phase) -> str:
        """It knows no phases."""
        return "one step at a time"
