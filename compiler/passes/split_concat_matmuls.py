"""Split a matmul of a concatenation into a sum of matmuls, to free parts from a cycle.

    in a cycle: matmul(W, concatenate(x, h)), x outside of it   -> add(matmul(W[:, 0:n], x),
                                                                       matmul(W[:, n:m], h))
    matmul(W, concatenate(onehot(s), h))                        -> add(lookup(W[:, 0:n], s), …)
    outer_sum(g, concatenate(x, h)), x and h split already      -> stack[1](outer_sum(g, x), …)

`W [x ; h]` then costs as much as `U x + W h`: `hoist_invariants` moves x's matmul out of the loop.
Condition: the concatenation is used at the same step, its parts vary from step to step, the matrix
is not block-diagonal, and the freed part is not much narrower than the rest (MAX_WIDTH_RATIO).
Changes the order of summation, and so rounding.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from rnnc.compiler.ir.builder import Builder
from rnnc.compiler.ir.dataflow import Dataflow, Operand, Value

from .matrix_slices import Range, locate_range, slice_matrix

MAX_WIDTH_RATIO: Final = 16
"""At this ratio of the part in the cycle to the freed part the matmul stays whole: the freed part
costs less inside of it than a matmul of its own whose result goes through memory."""


@dataclass(frozen=True, slots=True)
class _ConcatPart:
    """Parts of a concatenation that stay together; a symbol in place of its one-hot vector."""

    ranges: tuple[Range, ...]
    operand: Operand
    is_symbol: bool = False


def split_concat_matmuls(dataflow: Dataflow) -> Dataflow:
    """Split matmuls of concatenations, then the gradients of their matrices in the same way."""
    builder = Builder.from_dataflow(dataflow)
    partitions: dict[tuple[int, int], tuple[_ConcatPart, ...]] = {}
    cycles: dict[int, set[int]] = {}
    for value in dataflow.values:
        if value.operation != "matmul":
            continue
        concatenation = _find_concatenation(dataflow, value.operands[1])
        if concatenation is None:
            continue
        is_cyclic = value.id in dataflow.cyclic_values
        cycle = dataflow.component_of[value.id] if is_cyclic else -1
        cycles.setdefault(concatenation.id, set()).add(cycle)
        key = (concatenation.id, cycle)
        if key not in partitions:
            partitions[key] = _partition_concatenation(builder, dataflow, concatenation, cycle)
        is_whole = len(dataflow.values[value.operands[0].value].shape) == 2
        if len(partitions[key]) > 1 and is_whole:
            builder.replace_uses(value.id, _add_matmuls(builder, value, partitions[key]))
    for value in dataflow.values:
        if value.operation == "outer_sum" and not value.attributes:
            for side in (0, 1):
                operand = value.operands[side]
                if len(cycles.get(operand.value, ())) != 1 or operand.delay:
                    continue
                parts = partitions[operand.value, next(iter(cycles[operand.value]))]
                if len(parts) > 1:
                    stacked = _stack_outer_sums(builder, value, side, parts)
                    builder.replace_uses(value.id, stacked)
                    break
    return builder.build()


def _find_concatenation(dataflow: Dataflow, operand: Operand) -> Value | None:
    value = dataflow.values[operand.value]
    if value.operation != "concatenate" or operand.delay:
        return None
    varies = all(dataflow.values[r.value].rate == "step" for r in value.operands)
    return value if varies else None


def _partition_concatenation(
    builder: Builder, dataflow: Dataflow, concatenation: Value, cycle: int
) -> tuple[_ConcatPart, ...]:
    """Partition into the part inside of a cycle, the part outside, and each symbol by itself."""
    groups: dict[str, list[tuple[Range, Operand]]] = {}
    symbols: list[_ConcatPart] = []
    start = 0
    for operand in concatenation.operands:
        source = dataflow.values[operand.value]
        stop = start + source.size
        if source.operation == "onehot" and not operand.delay:
            symbols.append(_ConcatPart(((start, stop),), source.operands[0], is_symbol=True))
        else:
            group = "inside" if dataflow.component_of[operand.value] == cycle else "outside"
            groups.setdefault(group, []).append(((start, stop), operand))
        start = stop
    if len(groups) == 2:
        inside, outside = groups["inside"], groups["outside"]
        if MAX_WIDTH_RATIO * _total_width(outside) <= _total_width(inside):
            groups = {"inside": sorted([*inside, *outside], key=lambda member: member[0])}
    parts = []
    for members in groups.values():
        operands = [operand for _, operand in members]
        joined = operands[0]
        if len(operands) > 1:
            joined = builder.create(
                "concatenate",
                *operands,
                adjoint=concatenation.adjoint,
                origin=concatenation.origin,
            )
        parts.append(_ConcatPart(tuple(bounds for bounds, _ in members), joined))
    return (*parts, *symbols)


def _total_width(members: list[tuple[Range, Operand]]) -> int:
    return sum(stop - start for (start, stop), _ in members)


def _add_matmuls(builder: Builder, value: Value, parts: tuple[_ConcatPart, ...]) -> Operand:
    weight, axis = value.operands[0], 0 if value.attributes[0] else 1

    def matmul(part: _ConcatPart) -> Operand:
        return builder.create(
            "lookup" if part.is_symbol else "matmul",
            slice_matrix(builder, weight, axis, part.ranges),
            part.operand,
            attributes=value.attributes,
            adjoint=value.adjoint,
            origin=value.origin,
        )

    return builder.create("add", *map(matmul, parts), adjoint=value.adjoint, origin=value.origin)


def _stack_outer_sums(
    builder: Builder, value: Value, side: int, parts: tuple[_ConcatPart, ...]
) -> Operand:
    """Create the parts' gradients and stack them as rows (side 0) or columns (1) in order."""
    other = value.operands[1 - side]
    create = _outer_sum_builder(builder, other, side, adjoint=value.adjoint)
    slices: list[tuple[Range, Operand]] = []
    for part in parts:
        gradient = create(part)
        for bounds in part.ranges:
            position = locate_range(part.ranges, bounds)
            slices.append((bounds, slice_matrix(builder, gradient, side, (position,))))
    slices.sort(key=lambda member: member[0])
    return builder.create(
        "stack", *(matrix for _, matrix in slices), attributes=(side,), adjoint=value.adjoint
    )


def _outer_sum_builder(
    builder: Builder, other: Operand, side: int, *, adjoint: bool
) -> Callable[[_ConcatPart], Operand]:
    def create(part: _ConcatPart) -> Operand:
        if part.is_symbol:
            extent = sum(stop - start for start, stop in part.ranges)
            width = builder.width(other)
            shape = (extent, width) if side == 0 else (width, extent)
            attributes = (side == 0, *shape)
            return builder.create(
                "indexed_sum", other, part.operand, attributes=attributes, adjoint=adjoint
            )
        operands = (part.operand, other) if side == 0 else (other, part.operand)
        return builder.create("outer_sum", *operands, adjoint=adjoint)

    return create
