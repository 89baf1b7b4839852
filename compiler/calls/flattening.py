"""Flatten calls and results to tuples of tensors and back, for autograd and `torch.library`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from torch import Tensor

from rnnc.operators.graph.carry import carry_entries
from rnnc.operators.graph.operator_graph import OperatorGraph
from rnnc.operators.semantics.call import Call, CallResult

TensorKey = tuple[str, str]
"""Kind and name of a tensor in a call; a mask's name is the number of its node."""

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
    """Return all tensors of a call with their keys; the first four kinds are differentiable."""
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
    """Replace all tensors of a call by these; all other fields stay."""
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
    """Return True if a tensor of this kind and dtype may have a gradient."""
    return key[0] in {"parameter", "input", "history", "initial"} and tensor.is_floating_point()


def expected_shapes(call: Call) -> dict[TensorKey, tuple[int, ...]]:
    """Return the shape of every tensor that a call may have."""
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
    """Return the name of a tensor in messages."""
    kind, name = key
    match kind:
        case "history":
            return f"state.{name}"
        case "initial" | "drawn":
            return f"initial value of {name}"
        case _:
            return f"{kind} {name}".rstrip()


def clone_aliased(tensors: Sequence[Tensor], others: Sequence[Tensor]) -> list[Tensor]:
    """Clone tensors that share storage with `others` or with an earlier one of them."""
    seen = {tensor.untyped_storage().data_ptr() for tensor in others} - {0}
    found: list[Tensor] = []
    for tensor in tensors:
        place = tensor.untyped_storage().data_ptr()
        found.append(tensor.clone() if place in seen else tensor)
        seen.add(place) if place else None
    return found


def flatten_result(result: CallResult) -> tuple[Tensor, ...]:
    """Return outputs, carry, laws and loss inputs as one tuple."""
    return (*result.outputs, *result.carry.values(), *result.laws, *result.loss_inputs)


def result_keys(
    graph: OperatorGraph, carry_names: Sequence[str], *, training: bool
) -> list[TensorKey]:
    """Return the key of each tensor of `flatten_result`, as cotangents of a plan are named."""
    keys = [("output", output.name) for output in graph.outputs]
    keys += [("history", name) for name in carry_names]
    if training:
        keys += [("law", str(index)) for index in range(len(graph.laws))]
        keys += [("kept", str(index)) for index in range(len(graph.loss_inputs))]
    return keys


def unflatten_result(
    graph: OperatorGraph, carry_names: Sequence[str], tensors: Sequence[Tensor], *, training: bool
) -> CallResult:
    """Rebuild the result from the tensors of `flatten_result`."""
    outputs = len(graph.outputs)
    after = outputs + len(carry_names)
    laws = after + len(graph.laws) * training
    return CallResult(
        tuple(tensors[:outputs]),
        dict(zip(carry_names, tensors[outputs:after], strict=True)),
        tuple(tensors[after:laws]),
        tuple(tensors[laws:]),
    )
