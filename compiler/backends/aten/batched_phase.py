"""Execute a phase without a cycle: each operation once, for all steps of the series."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from rnnc.compiler.ir.dataflow import Value
from rnnc.compiler.ir.ops import ELEMENTWISE_OPS, REDUCTION_OPS, WINDOW_OPS
from rnnc.compiler.schedule.plan import Phase, Plan

from .addmm_fusion import classify_terms, find_fused_operands
from .boundary_gradients import carry_gradient, initial_value_gradient
from .buffers import AtenMemory
from .op_table import ELEMENTWISE_FUNCTIONS as COMPUTE
from .op_table import (
    group_max,
    group_sum,
    indexed_sum,
    lookup_column,
    matmul,
    onehot,
    outer_sum,
    pad,
    spread,
    subtract_product,
)
from .window_phase import compute_window, scatter_window_history

BOUNDARY_GRADIENTS: Final = {
    "to_history": carry_gradient,
    "to_initial": initial_value_gradient,
    "unmix_history": scatter_window_history,
}
"""Gradients of values outside the series: of carries and of initial values."""


def run_batched(phase: Phase, memory: AtenMemory) -> None:
    """Execute the operations of a batched phase in order, freeing buffers after their last use."""
    inner = find_fused_operands(memory.plan, phase)
    uses = last_uses(phase, memory.plan, inner)
    for number in phase.values:
        value = memory.values[number]
        if number in inner:
            continue
        if value.operation in BOUNDARY_GRADIENTS:
            memory.bind(number, BOUNDARY_GRADIENTS[value.operation](value, memory))
        elif value.rate != "step":
            memory.bind(number, _compute_per_call(value, memory))
        elif not memory.plan.is_alias(value):
            if value.operation in ELEMENTWISE_OPS:
                memory.reuse_operand_buffer(
                    value, uses, _operands_through_fused(value, memory, inner)
                )
            _compute_series(value, memory, inner)
        if value.operation == "state":
            memory.fill_margins(value)
        memory.free(uses.get(number, ()), phase.id)


def last_uses(phase: Phase, plan: Plan, fused: frozenset[int]) -> dict[int, list[int]]:
    """Map each value of a phase to the buffers whose last access in the phase it makes."""
    last: dict[int, int] = {}
    reader: dict[int, int] = {}
    for number in phase.values:
        if number in fused:
            user = number
            while user in fused:
                user = plan.dataflow.users[user][0]
            reader[number] = user
    for number in phase.values:
        user = reader.get(number, number)
        for source in (number, *(read.value for read in plan.dataflow.values[number].operands)):
            place = plan.regions[source]
            if place is not None:
                last[place.buffer] = user
    order = {number: index for index, number in enumerate(phase.values)}
    for number in phase.values:
        # A product that a sum computes is read when the sum is.
        user = reader.get(number, number)
        for read in plan.dataflow.values[number].operands:
            place = plan.regions[read.value]
            if place is not None and order[last[place.buffer]] < order[user]:
                last[place.buffer] = user
    found: dict[int, list[int]] = {}
    for buffer, number in last.items():
        found.setdefault(number, []).append(buffer)
    return found


def _compute_per_call(value: Value, memory: AtenMemory) -> Tensor:
    operands = [memory.load(read) for read in value.operands]
    return (
        reduce_over_steps(value, operands, memory)
        if value.operation in REDUCTION_OPS
        else evaluate(value, operands)
    )


def reduce_over_steps(value: Value, operands: list[Tensor], memory: AtenMemory) -> Tensor:
    """Reduce over all valid steps and rows; operands are (T, B, n), symbols (T, B)."""
    of_steps = [memory.values[read.value].rate == "step" for read in value.operands]
    terms = [
        memory.boundaries.zero_padding(operand) if one and operand.is_floating_point() else operand
        for one, operand in zip(of_steps, operands, strict=True)
    ]
    match value.operation:
        case "total":
            return terms[0].flatten(0, -2).sum(0)
        case "outer_sum":
            return outer_sum(terms[0], terms[1], value.attributes)
    assert value.operation == "indexed_sum", value.operation
    return indexed_sum(terms[0], terms[1], value.attributes)


def evaluate(value: Value, operands: list[Tensor]) -> Tensor:
    """Compute an operation into a new tensor (or a view of its operands)."""
    attributes = value.attributes
    numbers = [int(a) for a in attributes if not isinstance(a, str)]
    match value.operation:
        case "stack":
            return torch.cat(operands, numbers[0])
        case "cut":
            axis, start, stop = numbers
            return operands[0].narrow(axis, start, stop - start)
        case "concatenate":
            shape = _broadcast_shape([operand.shape[:-1] for operand in operands])
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
            return matmul(operands[0], operands[1], bool(numbers[0]))
        case "lookup":
            return lookup_column(operands[0], operands[1], bool(numbers[0]))
        case "state" | "stopgrad":
            return operands[0]
    shape = _broadcast_shape([operand.shape for operand in operands])
    dtype = next(o.dtype for o in reversed(operands) if o.is_floating_point())
    out = operands[-1].new_empty(shape, dtype=dtype)
    COMPUTE[value.operation](*operands, out=out)
    return out


def _broadcast_shape(shapes: list[torch.Size]) -> torch.Size:
    """Return the common broadcast shape."""
    return torch.broadcast_shapes(*shapes)  # type: ignore[no-untyped-call, no-any-return]


def _compute_series(value: Value, memory: AtenMemory, fused: frozenset[int]) -> None:
    out = memory.output(value.id)
    if value.operation == "concatenate":
        _copy_concatenated_parts(value, memory, out)
    elif value.operation == "add" and any(read.value in fused for read in value.operands):
        _compute_add(value, memory, fused, out)
    elif value.operation == "matmul" and len(memory.values[value.operands[0].value].shape) == 2:
        weight, vector = _matmul_operands(value, memory)
        torch.mm(vector, weight, out=out.flatten(0, 1))
    elif value.operation in WINDOW_OPS:
        compute_window(value, memory, out)
    elif value.operation == "onehot":
        out.copy_(onehot(memory.load(value.operands[0]), value.shape[0]))
    else:
        operands = [memory.load(read) for read in value.operands]
        if value.operation in ELEMENTWISE_OPS:
            COMPUTE[value.operation](*operands, out=out)
        else:
            out.copy_(evaluate(value, operands))


def _operands_through_fused(value: Value, memory: AtenMemory, fused: frozenset[int]) -> list[int]:
    """Return the ids of all values read for one value, looking through fused operands."""
    found: list[int] = []
    for read in value.operands:
        if read.value in fused:
            found += _operands_through_fused(memory.values[read.value], memory, fused)
        else:
            found.append(read.value)
    return found


def _matmul_operands(value: Value, memory: AtenMemory) -> tuple[Tensor, Tensor]:
    """Return the right-hand matrix and the (T·B, n) rows of a matmul over all steps."""
    weight, vector = (memory.load(read) for read in value.operands)
    vector = vector.expand(memory.call.steps, memory.call.batch_size, vector.shape[-1])
    return weight if value.attributes[0] else weight.t(), vector.flatten(0, 1)


def _compute_add(value: Value, memory: AtenMemory, fused: frozenset[int], out: Tensor) -> None:
    """Compute an add over all steps, its fused matmuls and multiplies with addmm and addcmul."""
    flat = out.flatten(0, 1)
    terms = classify_terms(value, memory.values, fused)
    plain = [memory.load(read) for read in terms.addends]
    plain.sort(key=lambda term: (term.data_ptr() != out.data_ptr(), term.dim()))
    total = plain.pop(0) if plain else None
    for source in terms.matmuls:
        weight, vector = _matmul_operands(source, memory)
        if total is None:
            torch.mm(vector, weight, out=flat)
        else:
            rows = total.flatten(0, 1) if total.dim() == 3 else total
            torch.addmm(rows, vector, weight, out=flat)
        total = out
    for source in terms.added_products:
        a, b = (memory.load(read) for read in source.operands)
        if total is None:
            COMPUTE["multiply"](a, b, out=out)
        else:
            torch.addcmul(total, a, b, out=out)
        total = out
    assert total is not None
    for source in terms.subtracted_products:
        a, b = (memory.load(read) for read in source.operands)
        total = subtract_product(total, a, b, out=out)
    for read in terms.subtrahends:
        total = torch.sub(total, memory.load(read), out=out)
    for term in plain:
        total = torch.add(total, term, out=out)


def _copy_concatenated_parts(value: Value, memory: AtenMemory, out: Tensor) -> None:
    """Copy the operands of a concatenation that are not already stored in its buffer."""
    plan = memory.plan
    start = 0
    place = plan.regions[value.id]
    for read in value.operands:
        width = memory.values[read.value].shape[0]
        there = plan.regions[read.value]
        assert place is not None
        if (
            there is None
            or read.delay
            or (there.buffer, there.offset) != (place.buffer, place.offset + start)
        ):
            out[..., start : start + width].copy_(memory.load(read))
        start += width
