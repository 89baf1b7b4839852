"""One phase for all steps at once."""

from __future__ import annotations

import torch
from torch import Tensor

from ...flow import Value
from ...plan import Phase
from ...vocabulary import ELEMENTWISE
from .gradients import to_history, to_initial
from .memory import Memory
from .operations import (
    ELEMENTWISE as COMPUTE,
)
from .operations import (
    group_max,
    group_sum,
    indexed_sum,
    look_up,
    onehot,
    outer_sum,
    pad,
    product,
    spread,
)


def run_batched(phase: Phase, memory: Memory) -> None:
    """Compute a phase that has no cycle."""
    for number in phase.values:
        value = memory.values[number]
        if value.operation in {"to_history", "to_initial"}:
            gather = to_history if value.operation == "to_history" else to_initial
            memory.put(number, gather(value, memory))
        elif value.rate != "step":
            memory.put(number, _once(value, memory))
        elif not memory.plan.is_free(value):
            _series(value, memory)
            if value.operation == "state":
                memory.fill_margins(value)
        elif value.operation == "state":
            memory.fill_margins(value)


def _once(value: Value, memory: Memory) -> Tensor:
    operands = [memory.read(read) for read in value.operands]
    if value.operation == "total":
        return operands[0].flatten(0, -2).sum(0)
    if value.operation == "outer_sum":
        return outer_sum(operands[0], operands[1], value.attributes)
    if value.operation == "indexed_sum":
        return indexed_sum(operands[0], operands[1], value.attributes)
    return fresh(value, operands)


def fresh(value: Value, operands: list[Tensor]) -> Tensor:
    """The result of an operation in a tensor of its own."""
    attributes = value.attributes
    numbers = [int(a) for a in attributes if not isinstance(a, str)]
    match value.operation:
        case "stack":
            return torch.cat(operands, numbers[0])
        case "cut":
            axis, start, stop = numbers
            return operands[0].narrow(axis, start, stop - start)
        case "concatenate":
            shape = _common([operand.shape[:-1] for operand in operands])
            return torch.cat([o.expand(*shape, o.shape[-1]) for o in operands], -1)
        case "slice":
            return operands[0][..., numbers[0] : numbers[1]]
        case "pad":
            return pad(operands[0], numbers[0], numbers[1])
        case "group_sum":
            return group_sum(operands[0], numbers[0])
        case "group_max":
            return group_max(operands[0], numbers[0])
        case "spread":
            return spread(operands[0], numbers[0])
        case "matmul":
            return product(operands[0], operands[1], bool(numbers[0]))
        case "lookup":
            return look_up(operands[0], operands[1], bool(numbers[0]))
        case "state":
            return operands[0]
    shape = _common([operand.shape for operand in operands])
    dtype = next(o.dtype for o in reversed(operands) if o.is_floating_point())
    out = operands[-1].new_empty(shape, dtype=dtype)
    COMPUTE[value.operation](*operands, out=out)
    return out


def _common(shapes: list[torch.Size]) -> torch.Size:
    """The shape that all broadcast to."""
    return torch.broadcast_shapes(*shapes)  # type: ignore[no-untyped-call, no-any-return]


def _series(value: Value, memory: Memory) -> None:
    out = memory.out(value.number)
    if value.operation == "concatenate":
        _place_parts(value, memory, out)
        return
    operands = [memory.read(read) for read in value.operands]
    if value.operation in ELEMENTWISE:
        COMPUTE[value.operation](*operands, out=out)
    elif value.operation == "matmul" and operands[0].dim() == 2 and operands[1].dim() == 3:
        weight = operands[0] if value.attributes[0] else operands[0].t()
        torch.mm(operands[1].flatten(0, 1), weight, out=out.flatten(0, 1))
    elif value.operation == "onehot":
        out.copy_(onehot(operands[0], value.shape[0], out.dtype))
    else:
        out.copy_(fresh(value, operands))


def _place_parts(value: Value, memory: Memory, out: Tensor) -> None:
    """Copy the parts of a concatenation that do not already lie in it."""
    plan = memory.plan
    start = 0
    place = plan.places[value.number]
    for read in value.operands:
        width = memory.values[read.value].shape[0]
        there = plan.places[read.value]
        assert place is not None
        if (
            there is None
            or read.delay
            or (there.buffer, there.start) != (place.buffer, place.start + start)
        ):
            out[..., start : start + width].copy_(memory.read(read))
        start += width
