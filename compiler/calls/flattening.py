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
    for kind, tensors_by_name in (
        ("parameter", call.parameters),
        ("input", call.inputs),
        ("history", call.carry),
        ("initial", call.initial_values),
        ("drawn", call.reset_values),
    ):
        for name, tensor in tensors_by_name.items():
            keys.append((kind, name))
            tensors.append(tensor)
    for node_id, tensor in call.masks.items():
        keys.append(("mask", str(node_id)))
        tensors.append(tensor)
    for kind, optional in (("lengths", call.lengths), ("resets", call.resets), ("age", call.age)):
        if optional is not None:
            keys.append((kind, ""))
            tensors.append(optional)
    return tuple(keys), tuple(tensors)


def unflatten(call: Call, keys: Sequence[TensorKey], tensors: Sequence[Tensor]) -> Call:
    """Replace all tensors of a call by these; all other fields stay."""
    fields: dict[str, Any] = {field: {} for field in CALL_FIELDS.values()}
    fields.update(dict.fromkeys(OPTIONAL_FIELDS))
    for (kind, name), tensor in zip(keys, tensors, strict=True):
        if kind in OPTIONAL_FIELDS:
            fields[kind] = tensor
        elif kind == "mask":
            fields["masks"][int(name)] = tensor
        else:
            fields[CALL_FIELDS[kind]][name] = tensor
    return replace(call, **fields)


def is_differentiable(key: TensorKey, tensor: Tensor) -> bool:
    """Return True if a tensor of this kind and dtype may have a gradient."""
    return key[0] in {"parameter", "input", "history", "initial"} and tensor.is_floating_point()


def expected_shapes(call: Call) -> dict[TensorKey, tuple[int, ...]]:
    """Return the shape of every tensor that a call may have."""
    graph, steps, rows = call.graph, call.steps, call.batch_size
    shapes_by_key: dict[TensorKey, tuple[int, ...]] = {
        ("parameter", p.name): p.shape for p in graph.parameters
    }
    for variable in graph.inputs:
        size = () if variable.type.kind == "symbol" else (variable.type.size,)
        shapes_by_key["input", variable.name] = (steps, rows, *size)
    for entry in carry_entries(graph):
        shapes_by_key["history", entry.name] = (
            entry.steps,
            rows,
            *((entry.size,) if entry.size else ()),
        )
    for state in graph.states:
        shapes_by_key["initial", state.name] = (rows, state.type.size)
        shapes_by_key["drawn", state.name] = (steps, rows, state.type.size)
    for node in graph.random_nodes:
        leading = (rows,) if node.operation == "variational" else (steps, rows)
        shapes_by_key["mask", str(node.id)] = (*leading, node.size)
    optional = {"lengths": (rows,), "resets": (steps, rows), "age": (rows,)}
    return {**shapes_by_key, **{(name, ""): shape for name, shape in optional.items()}}


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
    addresses = {tensor.untyped_storage().data_ptr() for tensor in others} - {0}
    unaliased: list[Tensor] = []
    for tensor in tensors:
        address = tensor.untyped_storage().data_ptr()
        unaliased.append(tensor.clone() if address in addresses else tensor)
        addresses.add(address) if address else None
    return unaliased


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
    carry_end = outputs + len(carry_names)
    laws_end = carry_end + len(graph.laws) * training
    return CallResult(
        tuple(tensors[:outputs]),
        dict(zip(carry_names, tensors[outputs:carry_end], strict=True)),
        tuple(tensors[carry_end:laws_end]),
        tuple(tensors[laws_end:]),
    )
