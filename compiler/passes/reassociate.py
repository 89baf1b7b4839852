"""Chains of one operation become one operation of many operands.

    add(add(a, b), c)                 -> add(a, b, c)
    multiply(multiply(a, b), c)       -> multiply(a, b, c)
    add(negate(a), b)                 stays

Side condition: the inner value has no other reader, is read at the same step, and is as wide as
the outer one and computed as often. The order of summation changes: rounding.
"""

from __future__ import annotations

from rnnc.compiler.ir.builder import Builder
from rnnc.compiler.ir.dataflow import Dataflow, Operand


def reassociate(dataflow: Dataflow) -> Dataflow:
    """The flow with its sums and products of values flat."""
    draft = Builder.from_dataflow(dataflow)
    used = _count_uses(dataflow)
    for value in dataflow.values:
        if value.operation not in {"add", "multiply"}:
            continue
        operands: list[Operand] = []
        for read in draft.values[value.id].operands:
            inner = draft.values[read.value]
            if (
                inner.operation == value.operation
                and not read.delay
                and used[read.value] == 1
                and inner.shape == value.shape
                and inner.rate == value.rate
                and inner.adjoint == value.adjoint
            ):
                operands += inner.operands
            else:
                operands.append(read)
        draft.values[value.id].operands = tuple(operands)
    return draft.build()


def _count_uses(flow: Dataflow) -> list[int]:
    used = [0] * len(flow.values)
    for value in flow.values:
        for read in value.operands:
            used[read.value] += 1
    for read in flow.results:
        used[read.value] += 1
    for gradient in flow.gradients:
        if gradient.value >= 0:
            used[gradient.value] += 1
    return used
