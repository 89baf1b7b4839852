"""A call as tensors in a row, and its results, too: what autograd and `torch.library` take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from torch import Tensor

from rnnc.operators.graph.carry import carried
from rnnc.operators.graph.operator_graph import OperatorGraph
from rnnc.operators.semantics.call import Call, Result

Key = tuple[str, str]
"""What a tensor is in a call, and its name; for a mask, the number of its node."""

FIELDS: Final = {
    "parameter": "parameters",
    "input": "inputs",
    "history": "history",
    "initial": "initial",
    "drawn": "drawn",
    "mask": "masks",
}
ALONE: Final = ("lengths", "resets", "age")


def flatten(call: Call) -> tuple[tuple[Key, ...], tuple[Tensor, ...]]:
    """All tensors of a call with their keys; gradients may be wanted of the first four kinds."""
    keys: list[Key] = []
    tensors: list[Tensor] = []
    for kind, named in (
        ("parameter", call.parameters),
        ("input", call.inputs),
        ("history", call.history),
        ("initial", call.initial),
        ("drawn", call.drawn),
    ):
        for name, tensor in named.items():
            keys.append((kind, name))
            tensors.append(tensor)
    for number, tensor in call.masks.items():
        keys.append(("mask", str(number)))
        tensors.append(tensor)
    for kind, only in (("lengths", call.lengths), ("resets", call.resets), ("age", call.age)):
        if only is not None:
            keys.append((kind, ""))
            tensors.append(only)
    return tuple(keys), tuple(tensors)


def unflatten(call: Call, keys: Sequence[Key], tensors: Sequence[Tensor]) -> Call:
    """A call with these tensors and no others; `call` says the rest."""
    parts: dict[str, Any] = {field: {} for field in FIELDS.values()}
    parts.update(dict.fromkeys(ALONE))
    for (kind, name), tensor in zip(keys, tensors, strict=True):
        if kind in ALONE:
            parts[kind] = tensor
        elif kind == "mask":
            parts["masks"][int(name)] = tensor
        else:
            parts[FIELDS[kind]][name] = tensor
    return replace(call, **parts)


def may_learn(key: Key, tensor: Tensor) -> bool:
    """Whether a gradient of such a tensor may be wanted."""
    return key[0] in {"parameter", "input", "history", "initial"} and tensor.is_floating_point()


def shapes(call: Call) -> dict[Key, tuple[int, ...]]:
    """The shapes that the tensors of a call have."""
    graph, steps, rows = call.graph, call.steps, call.rows
    found: dict[Key, tuple[int, ...]] = {("parameter", p.name): p.shape for p in graph.parameters}
    for variable in graph.inputs:
        size = () if variable.type.kind == "symbol" else (variable.type.size,)
        found["input", variable.name] = (steps, rows, *size)
    for item in carried(graph):
        found["history", item.name] = (item.steps, rows, *((item.size,) if item.size else ()))
    for state in graph.states:
        found["initial", state.name] = (rows, state.type.size)
        found["drawn", state.name] = (steps, rows, state.type.size)
    for node in graph.random:
        front = (rows,) if node.operation == "variational" else (steps, rows)
        found["mask", str(node.number)] = (*front, node.size)
    alone = {"lengths": (rows,), "resets": (steps, rows), "age": (rows,)}
    return {**found, **{(name, ""): shape for name, shape in alone.items()}}


def told(key: Key) -> str:
    """A tensor of a call as its user knows it."""
    kind, name = key
    match kind:
        case "history":
            return f"state.{name}"
        case "initial" | "drawn":
            return f"initial value of {name}"
        case _:
            return f"{kind} {name}".rstrip()


def apart(made: Sequence[Tensor], given: Sequence[Tensor]) -> list[Tensor]:
    """Tensors none of which shares memory with another one, or with what is given."""
    seen = {tensor.untyped_storage().data_ptr() for tensor in given} - {0}
    found: list[Tensor] = []
    for tensor in made:
        place = tensor.untyped_storage().data_ptr()
        found.append(tensor.clone() if place in seen else tensor)
        seen.add(place) if place else None
    return found


def flat_result(result: Result) -> tuple[Tensor, ...]:
    """Outputs, what is carried on, laws, and what `loss` terms need."""
    return (*result.outputs, *result.history.values(), *result.laws, *result.kept)


def result_keys(graph: OperatorGraph, history: Sequence[str], *, training: bool) -> list[Key]:
    """What each tensor of `flat_result` is: as the seeds of a plan are called."""
    keys = [("output", output.name) for output in graph.outputs]
    keys += [("history", name) for name in history]
    if training:
        keys += [("law", str(index)) for index in range(len(graph.laws))]
        keys += [("kept", str(index)) for index in range(len(graph.kept))]
    return keys


def result_of(
    graph: OperatorGraph, history: Sequence[str], tensors: Sequence[Tensor], *, training: bool
) -> Result:
    """The result that `flat_result` has laid in a row."""
    outputs = len(graph.outputs)
    after = outputs + len(history)
    laws = after + len(graph.laws) * training
    return Result(
        tuple(tensors[:outputs]),
        dict(zip(history, tensors[outputs:after], strict=True)),
        tuple(tensors[after:laws]),
        tuple(tensors[laws:]),
    )
