"""Reassociate: flatten chains of additions, and of multiplications, into n-ary operations.

    add(add(a, b), c)                 -> add(a, b, c)
    multiply(multiply(a, b), c)       -> multiply(a, b, c)
    add(negate(a), b)                 stays

Condition: the inner value has no other use, is used at the same step, and has the type of the outer
one. Changes the order of summation, and so rounding.
"""

from __future__ import annotations

from rnnc.compiler.ir.builder import Builder
from rnnc.compiler.ir.dataflow import Dataflow, Operand


def reassociate(dataflow: Dataflow) -> Dataflow:
    """Flatten nested sums and nested products of values."""
    builder = Builder.from_dataflow(dataflow)
    use_counts = _count_uses(dataflow)
    for value in dataflow.values:
        if value.operation not in {"add", "multiply"}:
            continue
        operands: list[Operand] = []
        for operand in builder.values[value.id].operands:
            inner = builder.values[operand.value]
            if (
                inner.operation == value.operation
                and not operand.delay
                and use_counts[operand.value] == 1
                and inner.shape == value.shape
                and inner.rate == value.rate
                and inner.adjoint == value.adjoint
            ):
                operands += inner.operands
            else:
                operands.append(operand)
        builder.values[value.id].operands = tuple(operands)
    return builder.build()


def _count_uses(dataflow: Dataflow) -> list[int]:
    use_counts = [0] * len(dataflow.values)
    for value in dataflow.values:
        for operand in value.operands:
            use_counts[operand.value] += 1
    for operand in dataflow.results:
        use_counts[operand.value] += 1
    for gradient in dataflow.gradients:
        if gradient.value >= 0:
            use_counts[gradient.value] += 1
    return use_counts
