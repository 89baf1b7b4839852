"""What the backward pass reads is computed again from states and inputs, not kept.

    forward: z = f(h[t-1], x), …      backward reads z
        -> backward: z' = f(h[t-1], x), reads z'

States and inputs, what a scan solved, masks, and what is computed once a call stay as they are. All
that is computed again needs no loop: the states are known. It is scheduled as late as its readers
allow, so that of a stack one layer at a time is in memory. Side condition: none; keeps every bit
but for products whose rows are summed in another order.
"""

from __future__ import annotations

from rnnc.compiler.ir.builder import Builder
from rnnc.compiler.ir.dataflow import Dataflow, Operand
from rnnc.compiler.ir.ops import SOURCE_OPS


def rematerialize(dataflow: Dataflow) -> Dataflow:
    """The flow whose backward pass reads only states, inputs and what is of a call."""
    draft = Builder.from_dataflow(dataflow)
    taken_by = {
        value.operands[0].value: value.id
        for value in dataflow.values
        if value.operation == "state" and not value.operands[0].delay
    }
    again: dict[int, Operand] = {}

    def copied(read: Operand) -> Operand:
        value = dataflow.values[read.value]
        if value.adjoint or value.rate != "step" or value.operation in {"state", *SOURCE_OPS}:
            return read
        if value.id in taken_by and not read.delay:
            return Operand(taken_by[value.id])
        if value.operation == "linear":
            return read
        if value.id not in again:
            again[value.id] = draft.create(
                value.operation,
                *(copied(operand) for operand in value.operands),
                attributes=value.attributes,
                origin=value.origin,
                adjoint=True,
            )
        return Operand(again[value.id].value, read.delay)

    for value in dataflow.values:
        if value.adjoint:
            draft.values[value.id].operands = tuple(copied(read) for read in value.operands)
    return draft.build()
