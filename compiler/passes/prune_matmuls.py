"""Prune matmuls: drop unused matrix rows, and from a cycle rows that are used only outside.

    y = matmul(W, v), used as y[0:n] alone                 -> matmul(W[0:n], v)
    in a cycle: y[0:n] used there, y[n:m] outside of it    -> matmul(W[0:n], v) in the cycle,
                                                              matmul(W[n:m], v) outside

Where a cell computes `W [x ; h]`, the backward step needs the cotangent of h alone. Condition: all
users are slices at the same step; the matrix is not block-diagonal. Sums fewer entries at a time,
which changes rounding.
"""

from __future__ import annotations

from rnnc.compiler.ir.builder import Builder
from rnnc.compiler.ir.dataflow import Dataflow, Value

from .matrix_slices import Range, locate_range, merge_ranges, slice_matrix


def prune_matmuls(dataflow: Dataflow) -> Dataflow:
    """Restrict matmuls to the entries that their users read."""
    builder = Builder.from_dataflow(dataflow)
    results = {operand.value for operand in dataflow.results}
    results |= {gradient.value for gradient in dataflow.gradients}
    for value in dataflow.values:
        if value.operation == "matmul" and value.id not in results:
            _prune_matmul(builder, dataflow, value)
    return builder.build()


def _prune_matmul(builder: Builder, dataflow: Dataflow, value: Value) -> None:
    weight, vector = value.operands
    slices = [dataflow.values[user] for user in dataflow.users[value.id]]
    if len(dataflow.values[weight.value].shape) != 2 or not slices:
        return
    if any(s.operation != "slice" or s.operands[0].delay for s in slices):
        return
    groups: dict[bool, list[Value]] = {}
    for s in slices:
        groups.setdefault(_is_same_component(dataflow, value, s), []).append(s)
    if len(groups) == 1 and merge_ranges(map(_slice_range, slices)) == ((0, value.size),):
        return
    axis = 1 if value.attributes[0] else 0
    for members in groups.values():
        ranges = merge_ranges(map(_slice_range, members))
        product = builder.create(
            "matmul",
            slice_matrix(builder, weight, axis, ranges),
            vector,
            attributes=value.attributes,
            adjoint=value.adjoint,
            origin=value.origin,
        )
        for s in members:
            bounds = locate_range(ranges, _slice_range(s))
            part = builder.create("slice", product, attributes=bounds, adjoint=s.adjoint)
            builder.replace_uses(s.id, part)


def _slice_range(value: Value) -> Range:
    start, stop = (int(a) for a in value.attributes)
    return start, stop


def _is_same_component(dataflow: Dataflow, a: Value, b: Value) -> bool:
    return dataflow.component_of[a.id] == dataflow.component_of[b.id]
