"""Hoist terms and factors that are invariant in a cycle (loop-invariant code motion).

    in a cycle: add(a, e1, e2)            -> add(a, e), e = add(e1, e2) outside
    in a cycle: multiply(a, e1, e2)       -> multiply(a, e), e = multiply(e1, e2) outside

Condition: at least two operands lie outside of the value's cycle. Changes the order of operations,
and so rounding.
"""

from __future__ import annotations

from rnnc.compiler.ir.builder import Builder
from rnnc.compiler.ir.dataflow import Dataflow, Operand


def hoist_invariants(dataflow: Dataflow) -> Dataflow:
    """Split sums and products in cycles into a part inside and a part outside of the cycle."""
    builder = Builder.from_dataflow(dataflow)
    for value in dataflow.values:
        if value.operation not in {"add", "multiply"} or value.id not in dataflow.cyclic_values:
            continue
        cycle = dataflow.component_of[value.id]
        inside: list[Operand] = []
        outside: list[Operand] = []
        for operand in value.operands:
            is_inside = dataflow.component_of[operand.value] == cycle
            (inside if is_inside else outside).append(operand)
        if len(outside) < 2 or not inside:
            continue
        invariant = builder.create(
            value.operation, *outside, adjoint=value.adjoint, origin=value.origin
        )
        builder.values[value.id].operands = (*inside, invariant)
    return builder.build()
