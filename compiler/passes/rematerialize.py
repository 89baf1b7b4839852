"""Rematerialize: compute residuals again in the backward pass instead of keeping them.

    forward: z = f(h[t-1], x), …      backward uses z
        -> backward: z' = f(h[t-1], x), uses z'

Kept are states, inputs, masks, results of scans, and values of rate `call` or `row`. As the states
are known, the copies need no loop; they are scheduled as late as their users allow, so that only
one layer's copies are in memory at a time. Bit-exact but for matmuls, whose rows are summed in
another order. (Checkpointing: Chen et al. 2016, arXiv 1604.06174.)
"""

from __future__ import annotations

from rnnc.compiler.ir.builder import Builder
from rnnc.compiler.ir.dataflow import Dataflow, Operand
from rnnc.compiler.ir.ops import SOURCE_OPS


def rematerialize(dataflow: Dataflow) -> Dataflow:
    """Make the backward pass use copies of forward values, recomputed from states and inputs."""
    builder = Builder.from_dataflow(dataflow)
    state_of = {
        value.operands[0].value: value.id
        for value in dataflow.values
        if value.operation == "state" and not value.operands[0].delay
    }
    copies: dict[int, Operand] = {}

    def copy(operand: Operand) -> Operand:
        value = dataflow.values[operand.value]
        if value.adjoint or value.rate != "step" or value.operation in {"state", *SOURCE_OPS}:
            return operand
        if value.id in state_of and not operand.delay:
            return Operand(state_of[value.id])
        if value.operation == "linear":
            return operand
        if value.id not in copies:
            copies[value.id] = builder.create(
                value.operation,
                *(copy(source) for source in value.operands),
                attributes=value.attributes,
                origin=value.origin,
                adjoint=True,
            )
        return Operand(copies[value.id].value, operand.delay)

    for value in dataflow.values:
        if value.adjoint:
            builder.values[value.id].operands = tuple(copy(operand) for operand in value.operands)
    return builder.build()
