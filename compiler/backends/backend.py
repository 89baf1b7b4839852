"""What a backend is: it runs the calls of one graph."""

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
    """How a model is compiled: see `request.PlanRequest`."""

    memory: MemoryPolicy = "save"
    without: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Residuals:
    """What a forward pass leaves for its backward pass.

    tensors: fresh ones, or views of what the call was given.
    metadata: whole numbers that say which tensors these are.
    context: anything that spares time, and that the backward pass can do without: it is not there
        where a compiled graph has kept the rest.
    """

    tensors: tuple[Tensor, ...] = ()
    metadata: tuple[int, ...] = ()
    context: Any = None


class Backend(Protocol):
    """Runs the calls of one graph; made once for a model, called from any thread.

    A backend's constructor takes the graph and `Options`, and raises `lower.Unsupported` with the
    reason where it cannot run the graph at all. It knows nothing of autograd: `differentiable.py`
    and `custom_op.py` make one function, and one operator of torch, of any backend.
    """

    @property
    def name(self) -> str:
        """As users write it."""

    @property
    def supports_autocast(self) -> bool:
        """Whether it computes in the type that autocast asks for, and not in the model's own."""

    def unsupported_reason(self, like: Tensor) -> str:
        """Why it does not run on this tensor's device and dtype; empty where it does."""

    def forward(self, call: Call, wrt: tuple[TensorKey, ...]) -> tuple[CallResult, Residuals]:
        """The results of a call, none of them a view of its tensors, and what `backward` takes.

        wrt: the tensors of which gradients will be asked for; nothing is saved without any.
        """

    def residual_count(self, call: Call, wrt: tuple[TensorKey, ...]) -> int:
        """How many tensors `forward` saves at most, from the call's names and dtypes alone."""

    def backward(
        self,
        call: Call,
        wrt: tuple[TensorKey, ...],
        residuals: Residuals,
        cotangents: Mapping[TensorKey, Tensor | None],
    ) -> Sequence[Tensor | None]:
        """The gradients that are wanted, None for zero, from those of the results that have one."""

    def plan(self) -> Plan | None:
        """The plan of a training step, or None for a backend that has no plans."""

    def explain(self, phase: Phase) -> str:
        """What runs a phase of that plan, and why, in a few words."""
