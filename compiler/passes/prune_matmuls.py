"""A product gives no more entries than its readers take, and in a cycle those of the cycle alone.

    y = matmul(W, v), read as y[0:n] and nothing else      -> matmul(W[0:n], v)
    in a cycle: y[0:n] read there, y[n:m] outside of it    -> matmul(W[0:n], v) in the cycle,
                                                              matmul(W[n:m], v) outside

Where a cell reads `W [x ; h]`, the step backward needs what h gains alone. Side condition: only
slices read the product, of the same step; its matrix is whole. Sums over fewer entries at a time:
rounding.
"""

from __future__ import annotations

from rnnc.compiler.ir.builder import Draft
from rnnc.compiler.ir.dataflow import Flow, Value

from .matrix_slices import Range, joined, section, within


def narrow(flow: Flow) -> Flow:
    """The flow with products of just the entries that are read."""
    draft = Draft.of(flow)
    kept = {read.value for read in flow.results} | {g.value for g in flow.gradients}
    for value in flow.values:
        if value.operation == "matmul" and value.number not in kept:
            _narrowed(draft, flow, value)
    return draft.finish()


def _narrowed(draft: Draft, flow: Flow, value: Value) -> None:
    weight, vector = value.operands
    slices = [flow.values[number] for number in flow.readers[value.number]]
    if len(flow.values[weight.value].shape) != 2 or not slices:
        return
    if any(s.operation != "slice" or s.operands[0].delay for s in slices):
        return
    groups: dict[bool, list[Value]] = {}
    for s in slices:
        groups.setdefault(_is_inside(flow, value, s), []).append(s)
    if len(groups) == 1 and joined(map(_range, slices)) == ((0, value.size),):
        return
    axis = 1 if value.attributes[0] else 0
    for members in groups.values():
        ranges = joined(map(_range, members))
        product = draft.add(
            "matmul",
            section(draft, weight, axis, ranges),
            vector,
            attributes=value.attributes,
            adjoint=value.adjoint,
            origin=value.origin,
        )
        for s in members:
            part = draft.add(
                "slice", product, attributes=within(ranges, _range(s)), adjoint=s.adjoint
            )
            draft.redirect(s.number, part)


def _range(value: Value) -> Range:
    start, stop = (int(a) for a in value.attributes)
    return start, stop


def _is_inside(flow: Flow, value: Value, reader: Value) -> bool:
    """Whether both are of one cycle."""
    return flow.component_of[value.number] == flow.component_of[reader.number]
