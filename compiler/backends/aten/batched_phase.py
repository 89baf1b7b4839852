"""Execute a phase without a cycle: each operation once, for all steps of the series."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

import torch
from torch import Tensor

from rnnc.compiler.ir.dataflow import Operand, Value
from rnnc.compiler.ir.ops import ELEMENTWISE_OPS, REDUCTION_OPS, WINDOW_OPS
from rnnc.compiler.schedule.plan import Phase, Plan

from .addmm_fusion import classify_terms, find_fused_operands
from .boundary_gradients import carry_gradient, initial_value_gradient
from .buffers import AtenMemory
from .op_table import (
    ELEMENTWISE_FUNCTIONS,
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
    fused = find_fused_operands(memory.plan, phase)
    buffers_by_last_use = last_uses(phase, memory.plan, fused)
    for value_id in phase.values:
        value = memory.values[value_id]
        if value_id in fused:
            continue
        if value.operation in BOUNDARY_GRADIENTS:
            memory.bind(value_id, BOUNDARY_GRADIENTS[value.operation](value, memory))
        elif value.rate != "step":
            memory.bind(value_id, _compute_per_call(value, memory))
        elif not memory.plan.is_alias(value):
            if value.operation in ELEMENTWISE_OPS:
                memory.reuse_operand_buffer(
                    value, buffers_by_last_use, _operands_through_fused(value, memory, fused)
                )
            _compute_series(value, memory, fused)
        if value.operation == "state":
            memory.fill_margins(value)
        memory.free(buffers_by_last_use.get(value_id, ()), phase.id)


def last_uses(phase: Phase, plan: Plan, fused: frozenset[int]) -> dict[int, list[int]]:
    """Map each value of a phase to the buffers whose last access in the phase it makes."""
    last_user: dict[int, int] = {}
    user_of: dict[int, int] = {}
    for value_id in phase.values:
        if value_id in fused:
            user = value_id
            while user in fused:
                user = plan.dataflow.users[user][0]
            user_of[value_id] = user
    for value_id in phase.values:
        user = user_of.get(value_id, value_id)
        for source in (
            value_id,
            *(operand.value for operand in plan.dataflow.values[value_id].operands),
        ):
            region = plan.regions[source]
            if region is not None:
                last_user[region.buffer] = user
    order = {value_id: index for index, value_id in enumerate(phase.values)}
    for value_id in phase.values:
        # Operands of a fused product are read when the add is computed.
        user = user_of.get(value_id, value_id)
        for operand in plan.dataflow.values[value_id].operands:
            region = plan.regions[operand.value]
            if region is not None and order[last_user[region.buffer]] < order[user]:
                last_user[region.buffer] = user
    buffers_by_user: dict[int, list[int]] = {}
    for buffer, value_id in last_user.items():
        buffers_by_user.setdefault(value_id, []).append(buffer)
    return buffers_by_user


def _compute_per_call(value: Value, memory: AtenMemory) -> Tensor:
    operands = [memory.load(operand) for operand in value.operands]
    return (
        reduce_over_steps(value, operands, memory)
        if value.operation in REDUCTION_OPS
        else evaluate(value, operands)
    )


def reduce_over_steps(value: Value, operands: list[Tensor], memory: AtenMemory) -> Tensor:
    """Reduce over all valid steps and rows; operands are (T, B, n), symbols (T, B)."""
    is_series = [memory.values[operand.value].rate == "step" for operand in value.operands]
    terms = [
        memory.boundaries.zero_padding(tensor) if masked and tensor.is_floating_point() else tensor
        for masked, tensor in zip(is_series, operands, strict=True)
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
    integers = [int(a) for a in attributes if not isinstance(a, str)]
    match value.operation:
        case "stack":
            return torch.cat(operands, integers[0])
        case "cut":
            axis, start, stop = integers
            return operands[0].narrow(axis, start, stop - start)
        case "concatenate":
            shape = _broadcast_shape([operand.shape[:-1] for operand in operands])
            return torch.cat([o.expand(*shape, o.shape[-1]) for o in operands], -1)
        case "slice":
            return operands[0][..., integers[0] : integers[1]]
        case "pad":
            return pad(operands[0], integers[0], integers[1])
        case "group_sum":
            return group_sum(operands[0], integers[0])
        case "group_max":
            return group_max(operands[0], integers[0])
        case "spread":
            return spread(operands[0], integers[0])
        case "matmul":
            return matmul(operands[0], operands[1], bool(integers[0]))
        case "lookup":
            return lookup_column(operands[0], operands[1], bool(integers[0]))
        case "state" | "stopgrad":
            return operands[0]
    shape = _broadcast_shape([operand.shape for operand in operands])
    dtype = next(o.dtype for o in reversed(operands) if o.is_floating_point())
    out = operands[-1].new_empty(shape, dtype=dtype)
    ELEMENTWISE_FUNCTIONS[value.operation](*operands, out=out)
    return out


def _broadcast_shape(shapes: list[torch.Size]) -> torch.Size:
    """Return the common broadcast shape."""
    return torch.broadcast_shapes(*shapes)  # type: ignore[no-untyped-call, no-any-return]


def _compute_series(value: Value, memory: AtenMemory, fused: frozenset[int]) -> None:
    out = memory.output(value.id)
    if value.operation == "concatenate":
        _copy_concatenated_parts(value, memory, out)
    elif value.operation == "add" and any(operand.value in fused for operand in value.operands):
        _compute_add(value, memory, fused, out)
    elif value.operation == "matmul" and len(memory.values[value.operands[0].value].shape) == 2:
        weight, vector = _matmul_operands(value, memory)
        torch.mm(vector, weight, out=out.flatten(0, 1))
    elif value.operation in WINDOW_OPS:
        compute_window(value, memory, out)
    elif value.operation == "onehot":
        out.copy_(onehot(memory.load(value.operands[0]), value.shape[0]))
    else:
        operands = [memory.load(operand) for operand in value.operands]
        if value.operation in ELEMENTWISE_OPS:
            ELEMENTWISE_FUNCTIONS[value.operation](*operands, out=out)
        else:
            out.copy_(evaluate(value, operands))


def _operands_through_fused(value: Value, memory: AtenMemory, fused: frozenset[int]) -> list[int]:
    """Return the ids of all values read for one value, looking through fused operands."""
    value_ids: list[int] = []
    for operand in value.operands:
        if operand.value in fused:
            value_ids += _operands_through_fused(memory.values[operand.value], memory, fused)
        else:
            value_ids.append(operand.value)
    return value_ids


def _matmul_operands(value: Value, memory: AtenMemory) -> tuple[Tensor, Tensor]:
    """Return the right-hand matrix and the (T·B, n) rows of a matmul over all steps."""
    weight, vector = (memory.load(operand) for operand in value.operands)
    vector = vector.expand(memory.call.steps, memory.call.batch_size, vector.shape[-1])
    return weight if value.attributes[0] else weight.t(), vector.flatten(0, 1)


def _compute_add(value: Value, memory: AtenMemory, fused: frozenset[int], out: Tensor) -> None:
    """Compute an add over all steps, its fused matmuls and multiplies with addmm and addcmul."""
    flat = out.flatten(0, 1)
    terms = classify_terms(value, memory.values, fused)
    addends = [memory.load(operand) for operand in terms.addends]
    addends.sort(key=lambda term: (term.data_ptr() != out.data_ptr(), term.dim()))
    total = addends.pop(0) if addends else None
    for source in terms.matmuls:
        weight, vector = _matmul_operands(source, memory)
        if total is None:
            torch.mm(vector, weight, out=flat)
        else:
            rows = total.flatten(0, 1) if total.dim() == 3 else total
            torch.addmm(rows, vector, weight, out=flat)
        total = out
    for source in terms.added_products:
        a, b = (memory.load(operand) for operand in source.operands)
        if total is None:
            ELEMENTWISE_FUNCTIONS["multiply"](a, b, out=out)
        else:
            torch.addcmul(total, a, b, out=out)
        total = out
    assert total is not None
    for source in terms.subtracted_products:
        a, b = (memory.load(operand) for operand in source.operands)
        total = subtract_product(total, a, b, out=out)
    for operand in terms.subtrahends:
        total = torch.sub(total, memory.load(operand), out=out)
    for term in addends:
        total = torch.add(total, term, out=out)


def _copy_concatenated_parts(value: Value, memory: AtenMemory, out: Tensor) -> None:
    """Copy the operands of a concatenation that are not already stored in its buffer."""
    for operand, columns in unplaced_parts(value, memory):
        out[..., columns].copy_(memory.load(operand))


def unplaced_parts(value: Value, memory: AtenMemory) -> Iterator[tuple[Operand, slice]]:
    """Yield the operands of a concatenation that must be copied, and the columns to copy to."""
    regions = memory.plan.regions
    region, offset = regions[value.id], 0
    assert region is not None
    for operand in value.operands:
        width = memory.values[operand.value].shape[0]
        if operand.delay or regions[operand.value] != replace(
            region, offset=region.offset + offset
        ):
            yield operand, slice(offset, offset + width)
        offset += width
