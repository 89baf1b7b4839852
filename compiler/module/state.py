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
    done = torch.full_like(age, steps) if lengths is None else lengths
    if resets is None or not steps:
        return age + done
    step = torch.arange(steps, device=age.device).unsqueeze(-1)
    hit = resets & (step < done)
    last = torch.where(hit, step, torch.full_like(step, -1)).amax(0)
    return torch.where(last < 0, age + done, done - last)


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
    history: dict[str, Tensor] = {}
    for item in carry_entries(graph):
        if item.name in initial:
            history[item.name] = initial[item.name].expand(item.steps, rows, item.size)
        elif item.name == age_name(graph):
            history[item.name] = torch.zeros(1, rows, dtype=torch.int64, device=like.device)
        elif item.size:
            history[item.name] = like.new_zeros(item.steps, rows, item.size)
        else:
            history[item.name] = torch.full((item.steps, rows), -1, device=like.device)
    return history


def state_fields(graph: OperatorGraph) -> NamedTupleFactory:
    """Return the named-tuple factory of a state."""
    return NamedTupleFactory("State", tuple(item.name for item in carry_entries(graph)))


def carry_to_state(
    graph: OperatorGraph, fields: NamedTupleFactory, history: Mapping[str, Tensor]
) -> Any:
    """Convert a carry to a state; an entry of one step loses the axis for it."""
    items = carry_entries(graph)
    return fields.make(*[history[i.name] if i.steps > 1 else history[i.name][0] for i in items])


def state_to_carry(graph: OperatorGraph, state: Any, rows: int, like: Tensor) -> dict[str, Tensor]:
    """Check a state (a tuple in order, or a tensor for a lone entry) and convert it to a carry.

    Raises:
        ValueError: on a wrong number of parts, or a wrong shape, dtype or device.
    """
    items = carry_entries(graph)
    sizes = {variable.name: variable.type.size for variable in graph.inputs}
    if isinstance(state, Tensor):
        state = (state,)
    if not isinstance(state, tuple | list) or len(state) != len(items):
        names = [item.name for item in items]
        found = f"{len(state)} parts" if isinstance(state, tuple | list) else type(state).__name__
        raise ValueError(f"state: expected a tuple of {names}, got {found}")
    history: dict[str, Tensor] = {}
    for item, value in zip(items, state, strict=True):
        shape = (rows, item.size) if item.size else (rows,)
        if item.steps > 1:
            shape = (item.steps, *shape)
        dtype = like.dtype if item.size else torch.int64
        if not isinstance(value, Tensor) or tuple(value.shape) != shape:
            got = str(tuple(value.shape)) if isinstance(value, Tensor) else type(value).__name__
            raise ValueError(f"state.{item.name}: expected {shape}, got {got}")
        if value.dtype != dtype or value.device != like.device:
            raise ValueError(
                f"state.{item.name}: expected {dtype} on {like.device}, got {value.dtype} on "
                f"{value.device}"
            )
        check_dense(f"state.{item.name}", value)
        if not item.size and item.name in sizes:
            check_symbols(f"state.{item.name}", value, sizes[item.name])
        history[item.name] = value if item.steps > 1 else value.unsqueeze(0)
    return history
