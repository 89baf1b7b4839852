"""A factor of a concatenation goes to its parts, where it can join theirs.

    in a cycle: multiply(concatenate(a, b), e)
        -> concatenate(multiply(a, e[0:n]), multiply(b, e[n:m]))

Side condition: the concatenation has no other reader and is read at the same step, and every other
operand lies outside of the cycle (so that slices of it cost nothing in the loop). Keeps every bit.
"""

from __future__ import annotations

from rnnc.compiler.ir.builder import Builder
from rnnc.compiler.ir.dataflow import Dataflow, Operand


def distribute_multiply(dataflow: Dataflow) -> Dataflow:
    """The flow with factors of concatenations at their parts."""
    draft = Builder.from_dataflow(dataflow)
    for value in dataflow.values:
        if value.operation != "multiply" or value.id not in dataflow.cyclic_values:
            continue
        own = dataflow.component_of[value.id]
        inside = [r for r in value.operands if dataflow.component_of[r.value] == own]
        outside = [r for r in value.operands if dataflow.component_of[r.value] != own]
        if len(inside) != 1 or inside[0].delay or not dataflow.has_one_use(inside[0].value, value):
            continue
        whole = dataflow.values[inside[0].value]
        if whole.operation != "concatenate" or whole.shape != value.shape:
            continue
        parts: list[Operand] = []
        start = 0
        for part in whole.operands:
            stop = start + draft.width(part)
            factors = [
                _slice_factor(draft, factor, start, stop, value.adjoint) for factor in outside
            ]
            parts.append(draft.create("multiply", part, *factors, adjoint=value.adjoint))
            start = stop
        draft.replace_uses(value.id, draft.create("concatenate", *parts, adjoint=value.adjoint))
    return draft.build()


def _slice_factor(draft: Builder, factor: Operand, start: int, stop: int, adjoint: bool) -> Operand:
    if draft.width(factor) == 1:
        return factor
    return draft.create("slice", factor, attributes=(start, stop), adjoint=adjoint)
