"""A call as tensors in a row, and its results, too: what autograd and `torch.library` take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from torch import Tensor

from rnnc.operators.graph.carry import carry_entries
from rnnc.operators.graph.operator_graph import OperatorGraph
from rnnc.operators.semantics.call import Call, CallResult

TensorKey = tuple[str, str]
"""What a tensor is in a call, and its name; for a mask, the number of its node."""

CALL_FIELDS: Final = {
    "parameter": "parameters",
    "input": "inputs",
    "history": "carry",
    "initial": "initial_values",
    "drawn": "reset_values",
    "mask": "masks",
}
OPTIONAL_FIELDS: Final = ("lengths", "resets", "age")


def flatten(call: Call) -> tuple[tuple[TensorKey, ...], tuple[Tensor, ...]]:
    """All tensors of a call with their keys; gradients may be wanted of the first four kinds."""
    keys: list[TensorKey] = []
    tensors: list[Tensor] = []
    for kind, named in (
        ("parameter", call.parameters),
        ("input", call.inputs),
        ("history", call.carry),
        ("initial", call.initial_values),
        ("drawn", call.reset_values),
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


def unflatten(call: Call, keys: Sequence[TensorKey], tensors: Sequence[Tensor]) -> Call:
    """A call with these tensors and no others; `call` says the rest."""
    parts: dict[str, Any] = {field: {} for field in CALL_FIELDS.values()}
    parts.update(dict.fromkeys(OPTIONAL_FIELDS))
    for (kind, name), tensor in zip(keys, tensors, strict=True):
        if kind in OPTIONAL_FIELDS:
            parts[kind] = tensor
        elif kind == "mask":
            parts["masks"][int(name)] = tensor
        else:
            parts[CALL_FIELDS[kind]][name] = tensor
    return replace(call, **parts)


def is_differentiable(key: TensorKey, tensor: Tensor) -> bool:
    """Whether a gradient of such a tensor may be wanted."""
    return key[0] in {"parameter", "input", "history", "initial"} and tensor.is_floating_point()


def expected_shapes(call: Call) -> dict[TensorKey, tuple[int, ...]]:
    """The shapes that the tensors of a call have."""
    graph, steps, rows = call.graph, call.steps, call.batch_size
    found: dict[TensorKey, tuple[int, ...]] = {
        ("parameter", p.name): p.shape for p in graph.parameters
    }
    for variable in graph.inputs:
        size = () if variable.type.kind == "symbol" else (variable.type.size,)
        found["input", variable.name] = (steps, rows, *size)
    for item in carry_entries(graph):
        found["history", item.name] = (item.steps, rows, *((item.size,) if item.size else ()))
    for state in graph.states:
        found["initial", state.name] = (rows, state.type.size)
        found["drawn", state.name] = (steps, rows, state.type.size)
    for node in graph.random_nodes:
        front = (rows,) if node.operation == "variational" else (steps, rows)
        found["mask", str(node.id)] = (*front, node.size)
    alone = {"lengths": (rows,), "resets": (steps, rows), "age": (rows,)}
    return {**found, **{(name, ""): shape for name, shape in alone.items()}}


def describe_key(key: TensorKey) -> str:
    """A tensor of a call as its user knows it."""
    kind, name = key
    match kind:
        case "history":
            return f"state.{name}"
        case "initial" | "drawn":
            return f"initial value of {name}"
        case _:
            return f"{kind} {name}".rstrip()


def clone_aliased(tensors: Sequence[Tensor], others: Sequence[Tensor]) -> list[Tensor]:
    """Tensors none of which shares memory with another one, or with what is given."""
    seen = {tensor.untyped_storage().data_ptr() for tensor in others} - {0}
    found: list[Tensor] = []
    for tensor in tensors:
        place = tensor.untyped_storage().data_ptr()
        found.append(tensor.clone() if place in seen else tensor)
        seen.add(place) if place else None
    return found


def flatten_result(result: CallResult) -> tuple[Tensor, ...]:
    """Outputs, what is carried on, laws, and what `loss` terms need."""
    return (*result.outputs, *result.carry.values(), *result.laws, *result.loss_inputs)


def result_keys(
    graph: OperatorGraph, carry_names: Sequence[str], *, training: bool
) -> list[TensorKey]:
    """What each tensor of `flatten_result` is: as the seeds of a plan are called."""
    keys = [("output", output.name) for output in graph.outputs]
    keys += [("history", name) for name in carry_names]
    if training:
        keys += [("law", str(index)) for index in range(len(graph.laws))]
        keys += [("kept", str(index)) for index in range(len(graph.loss_inputs))]
    return keys


def unflatten_result(
    graph: OperatorGraph, carry_names: Sequence[str], tensors: Sequence[Tensor], *, training: bool
) -> CallResult:
    """The result that `flatten_result` has laid in a row."""
    outputs = len(graph.outputs)
    after = outputs + len(carry_names)
    laws = after + len(graph.laws) * training
    return CallResult(
        tuple(tensors[:outputs]),
        dict(zip(carry_names, tensors[outputs:after], strict=True)),
        tuple(tensors[after:laws]),
        tuple(tensors[laws:]),
    )
