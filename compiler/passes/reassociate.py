"""Chains of one operation become one operation of many operands.

    add(add(a, b), c)                 -> add(a, b, c)
    multiply(multiply(a, b), c)       -> multiply(a, b, c)
    add(negate(a), b)                 stays

Side condition: the inner value has no other reader, is read at the same step, and is as wide as
the outer one and computed as often. The order of summation changes: rounding.
"""

from __future__ import annotations

from rnnc.compiler.ir.builder import Draft
from rnnc.compiler.ir.dataflow import Flow, Read


def flatten(flow: Flow) -> Flow:
    """The flow with its sums and products of values flat."""
    draft = Draft.of(flow)
    used = _uses(flow)
    for value in flow.values:
        if value.operation not in {"add", "multiply"}:
            continue
        operands: list[Read] = []
        for read in draft.values[value.number].operands:
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
        draft.values[value.number].operands = tuple(operands)
    return draft.finish()


def _uses(flow: Flow) -> list[int]:
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
