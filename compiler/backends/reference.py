"""Reference backend: interpret the operator graph step by step, in plain PyTorch."""

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
    """Interpreter of the graph in plain PyTorch; any dtype and device, derivatives of any order."""

    name = "reference"
    supports_autocast = False

    def __init__(self, graph: OperatorGraph, options: Options) -> None:
        self.graph, self.options = graph, options

    def unsupported_reason(self, like: Tensor) -> str:
        """Return the empty reason: it runs on every device and dtype."""
        return ""

    def forward(self, call: Call, wrt: tuple[TensorKey, ...]) -> tuple[CallResult, Residuals]:
        """Run one call without residuals."""
        return interpret(call), Residuals()

    def residual_count(self, call: Call, wrt: tuple[TensorKey, ...]) -> int:
        """Return 0."""
        return 0

    def backward(
        self,
        call: Call,
        wrt: tuple[TensorKey, ...],
        residuals: Residuals,
        cotangents: Mapping[TensorKey, Tensor | None],
    ) -> Sequence[Tensor | None]:
        """Run the call again under autograd, and its backward pass.

        Inside of a torch operator autograd records nothing, but in another thread it does.
        """
        keys, tensors = flatten(call)
        leaves = [t.detach().requires_grad_(k in wrt) for k, t in zip(keys, tensors, strict=True)]
        sources = [t for k, t in zip(keys, leaves, strict=True) if k in wrt]
        result_cotangents = tuple(cotangents.values())

        def compute() -> Sequence[Tensor | None]:
            return reference_gradients(
                unflatten(call, keys, leaves), sources, result_cotangents, create_graph=False
            )

        with ThreadPoolExecutor(1) as thread:
            return thread.submit(compute).result()

    def plan(self) -> Plan | None:
        """Return None: there is no plan."""
        return None

    def explain(self, phase: Phase) -> str:
        """Return the same words for every phase."""
        return "one step at a time"
