"""Convert between a model's carry and the state, a named tuple, that its users see."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from rnnc.compiler.calls.tensor_storage import check_dense
from rnnc.compiler.calls.value_checks import check_symbols
from rnnc.operators.graph.carry import age_name, carry_entries
from rnnc.operators.graph.operator_graph import OperatorGraph

from .namedtuples import NamedTupleFactory


def next_age(
    age: Tensor | None, lengths: Tensor | None, resets: Tensor | None, steps: int
) -> Tensor | None:
    """Return (B,): the age of each row's segment after a call; None without windows."""
    if age is None:
        return None
    steps_run = torch.full_like(age, steps) if lengths is None else lengths
    if resets is None or not steps:
        return age + steps_run
    step = torch.arange(steps, device=age.device).unsqueeze(-1)
    reset_steps = resets & (step < steps_run)
    last = torch.where(reset_steps, step, torch.full_like(step, -1)).amax(0)
    return torch.where(last < 0, age + steps_run, steps_run - last)


def initial_values(
    graph: OperatorGraph, parameters: Mapping[str, Tensor], rows: int, like: Tensor
) -> dict[str, Tensor]:
    """Return (B, n) for each state: its value before a segment, drawn anew if it is random."""
    values: dict[str, Tensor] = {}
    for state in graph.states:
        size = state.type.size
        match state.initial_value.kind:
            case "learned":
                values[state.name] = parameters[f"init.{state.name}"].expand(rows, size)
            case "uniform":
                values[state.name] = like.new_empty(rows, size).uniform_(
                    state.initial_value.low, state.initial_value.high
                )
            case _:
                values[state.name] = like.new_full((rows, size), state.initial_value.low)
    return values


def initial_carry(
    graph: OperatorGraph, initial: Mapping[str, Tensor], rows: int, like: Tensor
) -> dict[str, Tensor]:
    """Return (k, B, n) for each carry entry before a first step."""
    carry: dict[str, Tensor] = {}
    for entry in carry_entries(graph):
        if entry.name in initial:
            carry[entry.name] = initial[entry.name].expand(entry.steps, rows, entry.size)
        elif entry.name == age_name(graph):
            carry[entry.name] = torch.zeros(1, rows, dtype=torch.int64, device=like.device)
        elif entry.size:
            carry[entry.name] = like.new_zeros(entry.steps, rows, entry.size)
        else:
            carry[entry.name] = torch.full((entry.steps, rows), -1, device=like.device)
    return carry


def state_fields(graph: OperatorGraph) -> NamedTupleFactory:
    """Return the named-tuple factory of a state."""
    return NamedTupleFactory("State", tuple(item.name for item in carry_entries(graph)))


def carry_to_state(
    graph: OperatorGraph, fields: NamedTupleFactory, carry: Mapping[str, Tensor]
) -> Any:
    """Convert a carry to a state; an entry of one step loses the axis for it."""
    entries = carry_entries(graph)
    return fields.make(*[carry[i.name] if i.steps > 1 else carry[i.name][0] for i in entries])


def state_to_carry(graph: OperatorGraph, state: Any, rows: int, like: Tensor) -> dict[str, Tensor]:
    """Check a state (a tuple in order, or a tensor for a lone entry) and convert it to a carry.

    Raises:
        ValueError: on a wrong number of parts, or a wrong shape, dtype or device.
    """
    entries = carry_entries(graph)
    sizes = {variable.name: variable.type.size for variable in graph.inputs}
    if isinstance(state, Tensor):
        state = (state,)
    if not isinstance(state, tuple | list) or len(state) != len(entries):
        names = [entry.name for entry in entries]
        received = (
            f"{len(state)} parts" if isinstance(state, tuple | list) else type(state).__name__
        )
        raise ValueError(f"state: expected a tuple of {names}, got {received}")
    carry: dict[str, Tensor] = {}
    for entry, value in zip(entries, state, strict=True):
        shape = (rows, entry.size) if entry.size else (rows,)
        if entry.steps > 1:
            shape = (entry.steps, *shape)
        dtype = like.dtype if entry.size else torch.int64
        if not isinstance(value, Tensor) or tuple(value.shape) != shape:
            got = str(tuple(value.shape)) if isinstance(value, Tensor) else type(value).__name__
            raise ValueError(f"state.{entry.name}: expected {shape}, got {got}")
        if value.dtype != dtype or value.device != like.device:
            raise ValueError(
                f"state.{entry.name}: expected {dtype} on {like.device}, got {value.dtype} on "
                f"{value.device}"
            )
        check_dense(f"state.{entry.name}", value)
        if not entry.size and entry.name in sizes:
            check_symbols(f"state.{entry.name}", value, sizes[entry.name])
        carry[entry.name] = value if entry.steps > 1 else value.unsqueeze(0)
    return carry
