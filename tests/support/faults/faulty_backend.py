"""A backend that is wrong on purpose, in one kind of call."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from torch import Tensor

from rnnc.compiler.backends.backend import Options, Saved
from rnnc.compiler.backends.reference import Reference
from rnnc.compiler.calls.flattening import Key
from rnnc.operators.graph.operator_graph import OperatorGraph
from rnnc.operators.semantics.call import Call, Result

When = Callable[[Call], bool]


def always(call: Call) -> bool:
    return True


class Planted(Reference):
    """The reference, but for what is planted in it.

    when: in which calls it is wrong. what: `output`, `state`, `law`, `kept`, or `gradient KIND`,
    where a kind is that of a key; each is off by a hundredth of itself, and a bit.
    """

    def __init__(
        self, graph: OperatorGraph, options: Options, what: str, when: When, name: str
    ) -> None:
        super().__init__(graph, options)
        self.what, self.when, self.name = what, when, name

    def forward(self, call: Call, wanted: tuple[Key, ...]) -> tuple[Result, Saved]:
        result, saved = super().forward(call, wanted)
        if not self.when(call):
            return result, saved
        match self.what:
            case "output":
                result = replace(result, outputs=tuple(map(_off, result.outputs)))
            case "state":
                history = {name: _off(value) for name, value in result.history.items()}
                result = replace(result, history=history)
            case "law":
                result = replace(result, laws=tuple(map(_off, result.laws)))
            case "kept":
                result = replace(result, kept=tuple(map(_off, result.kept)))
        return result, saved

    def backward(
        self,
        call: Call,
        wanted: tuple[Key, ...],
        saved: Saved,
        gradients: Mapping[Key, Tensor | None],
    ) -> Sequence[Tensor | None]:
        found = super().backward(call, wanted, saved, gradients)
        if not self.when(call):
            return found
        return [
            _off(gradient) if gradient is not None and self.what == f"gradient {kind}" else gradient
            for (kind, _), gradient in zip(wanted, found, strict=True)
        ]


def _off(value: Tensor) -> Tensor:
    return value * 1.01 + 0.001 if value.is_floating_point() else value


def planted(
    what: str, when: When = always, name: str = "planted"
) -> Callable[[OperatorGraph, Options], Planted]:
    """What stands in the table of backends for such a one."""
    return lambda graph, options: Planted(graph, options, what, when, name)
