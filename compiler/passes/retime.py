"""Retime: move a delay from the use of a product to its operands (Leiserson and Saxe 1991).

    p = matmul(W, a), used as p[t+1] alone        -> matmul(W, a[t+1])
    p = multiply(a, b), used as p[t+1] alone      -> multiply(a[t+1], b[t+1])

A step of the backward loop then begins with its matmuls, as a forward step does, and elementwise
work becomes their epilogue. Condition: adjoint, in a cycle, one user at one delay, which is no
boundary gradient; a value that is zero outside of its segment stays zero there. Bit-exact.
"""

from __future__ import annotations

from rnnc.compiler.ir.builder import Builder
from rnnc.compiler.ir.dataflow import Dataflow, Operand


def retime(dataflow: Dataflow) -> Dataflow:
    """Compute adjoint products of a cycle at the step of their user."""
    builder = Builder.from_dataflow(dataflow)
    results = {operand.value for operand in dataflow.results}
    results |= {gradient.value for gradient in dataflow.gradients}
    for value in dataflow.values:
        if not value.adjoint or value.operation not in {"matmul", "multiply"}:
            continue
        if value.id not in dataflow.cyclic_values or value.id in results:
            continue
        uses = [
            (user, operand.delay)
            for user in dataflow.users[value.id]
            for operand in dataflow.values[user].operands
            if operand.value == value.id
        ]
        if len(uses) != 1 or uses[0][1] == 0:
            continue
        user, delay = uses[0]
        if dataflow.values[user].operation in {"to_history", "to_initial"}:
            continue
        if any(operand.delay for operand in value.operands):
            continue
        if _uses_state_or_input(dataflow, value.operands):
            continue
        builder.values[value.id].operands = tuple(
            operand
            if _is_time_invariant(dataflow, operand)
            else Operand(operand.value, operand.delay + delay)
            for operand in value.operands
        )
        builder.values[user].operands = tuple(
            Operand(operand.value) if operand.value == value.id else operand
            for operand in builder.values[user].operands
        )
    return builder.build()


def _is_time_invariant(dataflow: Dataflow, operand: Operand) -> bool:
    return dataflow.values[operand.value].rate != "step"


def _uses_state_or_input(dataflow: Dataflow, operands: tuple[Operand, ...]) -> bool:
    # Shifted, these would be used ahead of time, past the end of their series.
    return any(
        dataflow.values[operand.value].operation in {"state", "input"} for operand in operands
    )
