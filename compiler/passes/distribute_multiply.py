"""A factor of a concatenation goes to its parts, where it can join theirs.

    in a cycle: multiply(concatenate(a, b), e)
        -> concatenate(multiply(a, e[0:n]), multiply(b, e[n:m]))

Side condition: the concatenation has no other reader and is read at the same step, and every other
operand lies outside of the cycle (so that slices of it cost nothing in the loop). Keeps every bit.
"""

from __future__ import annotations

from rnnc.compiler.ir.builder import Draft
from rnnc.compiler.ir.dataflow import Flow, Read


def distribute(flow: Flow) -> Flow:
    """The flow with factors of concatenations at their parts."""
    draft = Draft.of(flow)
    for value in flow.values:
        if value.operation != "multiply" or value.number not in flow.cyclic:
            continue
        own = flow.component_of[value.number]
        inside = [r for r in value.operands if flow.component_of[r.value] == own]
        outside = [r for r in value.operands if flow.component_of[r.value] != own]
        if len(inside) != 1 or inside[0].delay or not flow.is_read_once(inside[0].value, value):
            continue
        whole = flow.values[inside[0].value]
        if whole.operation != "concatenate" or whole.shape != value.shape:
            continue
        parts: list[Read] = []
        start = 0
        for part in whole.operands:
            stop = start + draft.width(part)
            factors = [_part(draft, factor, start, stop, value.adjoint) for factor in outside]
            parts.append(draft.add("multiply", part, *factors, adjoint=value.adjoint))
            start = stop
        draft.redirect(value.number, draft.add("concatenate", *parts, adjoint=value.adjoint))
    return draft.finish()


def _part(draft: Draft, factor: Read, start: int, stop: int, adjoint: bool) -> Read:
    if draft.width(factor) == 1:
        return factor
    return draft.add("slice", factor, attributes=(start, stop), adjoint=adjoint)
