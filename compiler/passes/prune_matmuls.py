"""A product gives no more entries than its readers take, and in a cycle those of the cycle alone.

    y = matmul(W, v), read as y[0:n] and nothing else      -> matmul(W[0:n], v)
    in a cycle: y[0:n] read there, y[n:m] outside of it    -> matmul(W[0:n], v) in the cycle,
                                                              matmul(W[n:m], v) outside

Where a cell reads `W [x ; h]`, the step backward needs what h gains alone. Side condition: only
slices read the product, of the same step; its matrix is whole. Sums over fewer entries at a time:
rounding.
"""

from __future__ import annotations

from rnnc.compiler.ir.builder import Builder
from rnnc.compiler.ir.dataflow import Dataflow, Value

from .matrix_slices import Range, locate_range, merge_ranges, slice_matrix


def prune_matmuls(dataflow: Dataflow) -> Dataflow:
    """The flow with products of just the entries that are read."""
    draft = Builder.from_dataflow(dataflow)
    kept = {read.value for read in dataflow.results} | {g.value for g in dataflow.gradients}
    for value in dataflow.values:
        if value.operation == "matmul" and value.id not in kept:
            _prune_matmul(draft, dataflow, value)
    return draft.build()


def _prune_matmul(draft: Builder, flow: Dataflow, value: Value) -> None:
    weight, vector = value.operands
    slices = [flow.values[number] for number in flow.users[value.id]]
    if len(flow.values[weight.value].shape) != 2 or not slices:
        return
    if any(s.operation != "slice" or s.operands[0].delay for s in slices):
        return
    groups: dict[bool, list[Value]] = {}
    for s in slices:
        groups.setdefault(_is_same_component(flow, value, s), []).append(s)
    if len(groups) == 1 and merge_ranges(map(_slice_range, slices)) == ((0, value.size),):
        return
    axis = 1 if value.attributes[0] else 0
    for members in groups.values():
        ranges = merge_ranges(map(_slice_range, members))
        product = draft.create(
            "matmul",
            slice_matrix(draft, weight, axis, ranges),
            vector,
            attributes=value.attributes,
            adjoint=value.adjoint,
            origin=value.origin,
        )
        for s in members:
            part = draft.create(
                "slice",
                product,
                attributes=locate_range(ranges, _slice_range(s)),
                adjoint=s.adjoint,
            )
            draft.replace_uses(s.id, part)


def _slice_range(value: Value) -> Range:
    start, stop = (int(a) for a in value.attributes)
    return start, stop


def _is_same_component(flow: Dataflow, value: Value, reader: Value) -> bool:
    """Whether both are of one cycle."""
    return flow.component_of[value.id] == flow.component_of[reader.id]
