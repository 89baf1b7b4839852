"""A backend with an injected fault in some calls."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from torch import Tensor

from rnnc.compiler.backends.backend import Options, Residuals
from rnnc.compiler.backends.reference import ReferenceBackend
from rnnc.compiler.calls.flattening import TensorKey
from rnnc.operators.graph.operator_graph import OperatorGraph
from rnnc.operators.semantics.call import Call, CallResult

CallPredicate = Callable[[Call], bool]


def every_call(call: Call) -> bool:
    return True


class FaultyReference(ReferenceBackend):
    """The reference with an injected fault.

    is_faulty: chooses the faulty calls. faulty_part: `output`, `state`, `law`, `kept`, or `gradient
    KIND`, with the kind of a key; its entries are off by a hundredth, and a bit.
    """

    def __init__(
        self, graph: OperatorGraph, options: Options, what: str, when: CallPredicate, name: str
    ) -> None:
        super().__init__(graph, options)
        self.faulty_part, self.is_faulty, self.name = what, when, name

    def forward(self, call: Call, wrt: tuple[TensorKey, ...]) -> tuple[CallResult, Residuals]:
        result, residuals = super().forward(call, wrt)
        if not self.is_faulty(call):
            return result, residuals
        match self.faulty_part:
            case "output":
                result = replace(result, outputs=tuple(map(_perturb, result.outputs)))
            case "state":
                history = {name: _perturb(value) for name, value in result.carry.items()}
                result = replace(result, carry=history)
            case "law":
                result = replace(result, laws=tuple(map(_perturb, result.laws)))
            case "kept":
                result = replace(result, loss_inputs=tuple(map(_perturb, result.loss_inputs)))
        return result, residuals

    def backward(
        self,
        call: Call,
        wrt: tuple[TensorKey, ...],
        residuals: Residuals,
        cotangents: Mapping[TensorKey, Tensor | None],
    ) -> Sequence[Tensor | None]:
        correct = super().backward(call, wrt, residuals, cotangents)
        if not self.is_faulty(call):
            return correct
        return [
            _perturb(gradient)
            if gradient is not None and self.faulty_part == f"gradient {kind}"
            else gradient
            for (kind, _), gradient in zip(wrt, correct, strict=True)
        ]


def _perturb(value: Tensor) -> Tensor:
    return value * 1.01 + 0.001 if value.is_floating_point() else value


def faulty_backend(
    part: str, when: CallPredicate = every_call, name: str = "planted"
) -> Callable[[OperatorGraph, Options], FaultyReference]:
    """Return the factory of a faulty backend, for the backend registry."""
    return lambda graph, options: FaultyReference(graph, options, part, when, name)
