"""What the backward pass reads is computed again from states and inputs, not kept.

    forward: z = f(h[t-1], x), …      backward reads z
        -> backward: z' = f(h[t-1], x), reads z'

States and inputs, what a scan solved, masks, and what is computed once a call stay as they are. All
that is computed again needs no loop: the states are known. It is scheduled as late as its readers
allow, so that of a stack one layer at a time is in memory. Side condition: none; keeps every bit
but for products whose rows are summed in another order.
"""

from __future__ import annotations

from rnnc.compiler.ir.builder import Draft
from rnnc.compiler.ir.dataflow import Flow, Read
from rnnc.compiler.ir.ops import SOURCES


def recompute(flow: Flow) -> Flow:
    """The flow whose backward pass reads only states, inputs and what is of a call."""
    draft = Draft.of(flow)
    taken_by = {
        value.operands[0].value: value.number
        for value in flow.values
        if value.operation == "state" and not value.operands[0].delay
    }
    again: dict[int, Read] = {}

    def copied(read: Read) -> Read:
        value = flow.values[read.value]
        if value.adjoint or value.rate != "step" or value.operation in {"state", *SOURCES}:
            return read
        if value.number in taken_by and not read.delay:
            return Read(taken_by[value.number])
        if value.operation == "linear":
            return read
        if value.number not in again:
            again[value.number] = draft.add(
                value.operation,
                *(copied(operand) for operand in value.operands),
                attributes=value.attributes,
                origin=value.origin,
                adjoint=True,
            )
        return Read(again[value.number].value, read.delay)

    for value in flow.values:
        if value.adjoint:
            draft.values[value.number].operands = tuple(copied(read) for read in value.operands)
    return draft.finish()
