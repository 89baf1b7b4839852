"""Interface of a backend, which runs the forward and backward pass of calls of one graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

from rnnc.compiler.calls.flattening import TensorKey
from rnnc.compiler.request import MemoryPolicy
from rnnc.compiler.schedule.plan import Phase, Plan
from rnnc.operators.semantics.call import Call, CallResult


@dataclass(frozen=True, slots=True)
class Options:
    """Compile options of a model, see `PlanRequest`."""

    memory: MemoryPolicy = "save"
    without: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Residuals:
    """Tensors and metadata that a forward pass saves for its backward pass.

    tensors: new ones, or views of the call's tensors.
    metadata: integers that say which tensors these are.
    context: an optional object that spares work. A compiled graph keeps tensors and metadata alone,
        so that a backward pass must be able to do without it.
    """

    tensors: tuple[Tensor, ...] = ()
    metadata: tuple[int, ...] = ()
    context: Any = None


class Backend(Protocol):
    """Executor of the calls of one graph; made once for a model, called from any thread.

    A constructor takes the graph and `Options`, and raises `Unsupported` with the reason if the
    backend cannot run the graph at all. A backend knows nothing of autograd: `torch_integration`
    wraps any backend as an autograd function and as a torch operator.
    """

    @property
    def name(self) -> str:
        """Return the name as users write it."""

    @property
    def supports_autocast(self) -> bool:
        """Return True if it computes in autocast's dtype, False if in the model's own."""

    def unsupported_reason(self, like: Tensor) -> str:
        """Return the reason why a tensor's device and dtype are unsupported; empty if supported."""

    def forward(self, call: Call, wrt: tuple[TensorKey, ...]) -> tuple[CallResult, Residuals]:
        """Return the result of a call, none of it a view of the call's tensors, and its residuals.

        wrt: the tensors to compute gradients for later; if empty, nothing is saved.
        """

    def residual_count(self, call: Call, wrt: tuple[TensorKey, ...]) -> int:
        """Return the largest number of residual tensors, from the call's names and dtypes alone."""

    def backward(
        self,
        call: Call,
        wrt: tuple[TensorKey, ...],
        residuals: Residuals,
        cotangents: Mapping[TensorKey, Tensor | None],
    ) -> Sequence[Tensor | None]:
        """Return one gradient per key of `wrt` (None for zero) from the results' cotangents."""

    def plan(self) -> Plan | None:
        """Return the plan of a training step, or None for a backend without plans."""

    def explain(self, phase: Phase) -> str:
        """Describe in a few words how a phase of that plan is executed, and why."""
