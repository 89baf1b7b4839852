"""Distribute a multiplication over a concatenation: its factors join the factors of the parts.

    in a cycle: multiply(concatenate(a, b), e)
        -> concatenate(multiply(a, e[0:n]), multiply(b, e[n:m]))

Condition: the multiplication is the concatenation's only user, at the same step, and its other
operands lie outside of the cycle (so that their slices cost nothing in the loop). Bit-exact.
"""

from __future__ import annotations

from rnnc.compiler.ir.builder import Builder
from rnnc.compiler.ir.dataflow import Dataflow, Operand


def distribute_multiply(dataflow: Dataflow) -> Dataflow:
    """Distribute multiplications in cycles over the concatenations that they multiply."""
    builder = Builder.from_dataflow(dataflow)
    for value in dataflow.values:
        if value.operation != "multiply" or value.id not in dataflow.cyclic_values:
            continue
        cycle = dataflow.component_of[value.id]
        inside = [r for r in value.operands if dataflow.component_of[r.value] == cycle]
        outside = [r for r in value.operands if dataflow.component_of[r.value] != cycle]
        if len(inside) != 1 or inside[0].delay or not dataflow.has_one_use(inside[0].value, value):
            continue
        concatenation = dataflow.values[inside[0].value]
        if concatenation.operation != "concatenate" or concatenation.shape != value.shape:
            continue
        parts: list[Operand] = []
        start = 0
        for part in concatenation.operands:
            stop = start + builder.width(part)
            factors = [
                _slice_factor(builder, factor, start, stop, value.adjoint) for factor in outside
            ]
            parts.append(builder.create("multiply", part, *factors, adjoint=value.adjoint))
            start = stop
        product = builder.create("concatenate", *parts, adjoint=value.adjoint)
        builder.replace_uses(value.id, product)
    return builder.build()


def _slice_factor(
    builder: Builder, factor: Operand, start: int, stop: int, adjoint: bool
) -> Operand:
    if builder.width(factor) == 1:
        return factor
    return builder.create("slice", factor, attributes=(start, stop), adjoint=adjoint)
