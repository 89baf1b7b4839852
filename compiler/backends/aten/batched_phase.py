"""One phase for all steps at once."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from rnnc.compiler.ir.dataflow import Value
from rnnc.compiler.ir.ops import ELEMENTWISE, SUMS, WINDOWS
from rnnc.compiler.schedule.plan import Phase, Plan

from .addmm_fusion import absorbed, terms_of
from .boundary_gradients import to_history, to_initial
from .buffers import Memory
from .op_table import ELEMENTWISE as COMPUTE
from .op_table import (
    group_max,
    group_sum,
    indexed_sum,
    look_up,
    onehot,
    outer_sum,
    pad,
    product,
    spread,
    subtract_product,
)
from .window_phase import unmix_history, window_for_all

LATE: Final = {
    "to_history": to_history,
    "to_initial": to_initial,
    "unmix_history": unmix_history,
}
"""What flows out of the series."""


def run_batched(phase: Phase, memory: Memory) -> None:
    """Compute a phase that has no cycle."""
    inner = absorbed(memory.plan, phase)
    uses = last_uses(phase, memory.plan, inner)
    for number in phase.values:
        value = memory.values[number]
        if number in inner:
            continue
        if value.operation in LATE:
            memory.put(number, LATE[value.operation](value, memory))
        elif value.rate != "step":
            memory.put(number, _once(value, memory))
        elif not memory.plan.is_free(value):
            if value.operation in ELEMENTWISE:
                memory.reuse(value, uses, _reads(value, memory, inner))
            _series(value, memory, inner)
        if value.operation == "state":
            memory.fill_margins(value)
        memory.drop(uses.get(number, ()), phase.number)


def last_uses(phase: Phase, plan: Plan, inner: frozenset[int]) -> dict[int, list[int]]:
    """For a value of a phase, the buffers that it is the last one of the phase to read or write."""
    last: dict[int, int] = {}
    reader: dict[int, int] = {}
    for number in phase.values:
        if number in inner:
            user = number
            while user in inner:
                user = plan.flow.readers[user][0]
            reader[number] = user
    for number in phase.values:
        user = reader.get(number, number)
        for source in (number, *(read.value for read in plan.flow.values[number].operands)):
            place = plan.places[source]
            if place is not None:
                last[place.buffer] = user
    order = {number: index for index, number in enumerate(phase.values)}
    for number in phase.values:
        # A product that a sum computes is read when the sum is.
        user = reader.get(number, number)
        for read in plan.flow.values[number].operands:
            place = plan.places[read.value]
            if place is not None and order[last[place.buffer]] < order[user]:
                last[place.buffer] = user
    found: dict[int, list[int]] = {}
    for buffer, number in last.items():
        found.setdefault(number, []).append(buffer)
    return found


def _once(value: Value, memory: Memory) -> Tensor:
    operands = [memory.read(read) for read in value.operands]
    return summed(value, operands, memory) if value.operation in SUMS else fresh(value, operands)


def summed(value: Value, operands: list[Tensor], memory: Memory) -> Tensor:
    """A sum over the steps that rows have; operands (T, B, n), symbols (T, B)."""
    of_steps = [memory.values[read.value].rate == "step" for read in value.operands]
    terms = [
        memory.boundaries.shown(operand) if one and operand.is_floating_point() else operand
        for one, operand in zip(of_steps, operands, strict=True)
    ]
    match value.operation:
        case "total":
            return terms[0].flatten(0, -2).sum(0)
        case "outer_sum":
            return outer_sum(terms[0], terms[1], value.attributes)
    assert value.operation == "indexed_sum", value.operation
    return indexed_sum(terms[0], terms[1], value.attributes)


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
        case "state" | "stopgrad":
            return operands[0]
    shape = _common([operand.shape for operand in operands])
    dtype = next(o.dtype for o in reversed(operands) if o.is_floating_point())
    out = operands[-1].new_empty(shape, dtype=dtype)
    COMPUTE[value.operation](*operands, out=out)
    return out


def _common(shapes: list[torch.Size]) -> torch.Size:
    """The shape that all broadcast to."""
    return torch.broadcast_shapes(*shapes)  # type: ignore[no-untyped-call, no-any-return]


def _series(value: Value, memory: Memory, inner: frozenset[int]) -> None:
    out = memory.out(value.number)
    if value.operation == "concatenate":
        _place_parts(value, memory, out)
    elif value.operation == "add" and any(read.value in inner for read in value.operands):
        _sum(value, memory, inner, out)
    elif value.operation == "matmul" and len(memory.values[value.operands[0].value].shape) == 2:
        weight, vector = _factors(value, memory)
        torch.mm(vector, weight, out=out.flatten(0, 1))
    elif value.operation in WINDOWS:
        window_for_all(value, memory, out)
    elif value.operation == "onehot":
        out.copy_(onehot(memory.read(value.operands[0]), value.shape[0]))
    else:
        operands = [memory.read(read) for read in value.operands]
        if value.operation in ELEMENTWISE:
            COMPUTE[value.operation](*operands, out=out)
        else:
            out.copy_(fresh(value, operands))


def _reads(value: Value, memory: Memory, inner: frozenset[int]) -> list[int]:
    """All values that are read to compute one, through those that it computes on the way."""
    found: list[int] = []
    for read in value.operands:
        if read.value in inner:
            found += _reads(memory.values[read.value], memory, inner)
        else:
            found.append(read.value)
    return found


def _factors(value: Value, memory: Memory) -> tuple[Tensor, Tensor]:
    """The matrix as it stands right of the rows, and the rows of all steps."""
    weight, vector = (memory.read(read) for read in value.operands)
    vector = vector.expand(memory.call.steps, memory.call.rows, vector.shape[-1])
    return weight if value.attributes[0] else weight.t(), vector.flatten(0, 1)


def _sum(value: Value, memory: Memory, inner: frozenset[int], out: Tensor) -> None:
    """A sum, its products computed on the way."""
    flat = out.flatten(0, 1)
    terms = terms_of(value, memory.values, inner)
    plain = [memory.read(read) for read in terms.plain]
    plain.sort(key=lambda term: (term.data_ptr() != out.data_ptr(), term.dim()))
    total = plain.pop(0) if plain else None
    for source in terms.matmuls:
        weight, vector = _factors(source, memory)
        if total is None:
            torch.mm(vector, weight, out=flat)
        else:
            rows = total.flatten(0, 1) if total.dim() == 3 else total
            torch.addmm(rows, vector, weight, out=flat)
        total = out
    for source in terms.products:
        a, b = (memory.read(read) for read in source.operands)
        if total is None:
            COMPUTE["multiply"](a, b, out=out)
        else:
            torch.addcmul(total, a, b, out=out)
        total = out
    assert total is not None
    for source in terms.minus_products:
        a, b = (memory.read(read) for read in source.operands)
        total = subtract_product(total, a, b, out=out)
    for read in terms.minus:
        total = torch.sub(total, memory.read(read), out=out)
    for term in plain:
        total = torch.add(total, term, out=out)


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
