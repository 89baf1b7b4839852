"""What is read one step away is computed where it is read.

    p = matmul(W, a), read as p[t+1] alone        -> matmul(W, a[t+1])
    p = multiply(a, b), read as p[t+1] alone      -> multiply(a[t+1], b[t+1])

So that a step of the backward loop begins with its products, as a forward step does, and what
follows is their epilogue. Side condition: adjoint, in a cycle, one reader at one delay, which is no
boundary of a segment; zero outside of the segment stays zero. Keeps every bit.
"""

from __future__ import annotations

from rnnc.compiler.ir.builder import Builder
from rnnc.compiler.ir.dataflow import Dataflow, Operand


def retime(dataflow: Dataflow) -> Dataflow:
    """The flow with products at the step of their reader."""
    draft = Builder.from_dataflow(dataflow)
    kept = {read.value for read in dataflow.results}
    kept |= {gradient.value for gradient in dataflow.gradients}
    for value in dataflow.values:
        if not value.adjoint or value.operation not in {"matmul", "multiply"}:
            continue
        if value.id not in dataflow.cyclic_values or value.id in kept:
            continue
        reads = [
            (reader, read.delay)
            for reader in dataflow.users[value.id]
            for read in dataflow.values[reader].operands
            if read.value == value.id
        ]
        if len(reads) != 1 or reads[0][1] == 0:
            continue
        reader, delay = reads[0]
        if dataflow.values[reader].operation in {"to_history", "to_initial"}:
            continue
        if any(read.delay for read in value.operands):
            continue
        if _reads_state_or_input(dataflow, value.operands):
            continue
        draft.values[value.id].operands = tuple(
            Operand(
                read.value, read.delay if _is_time_invariant(dataflow, read) else read.delay + delay
            )
            for read in value.operands
        )
        draft.values[reader].operands = tuple(
            Operand(read.value) if read.value == value.id else read
            for read in draft.values[reader].operands
        )
    return draft.build()


def _is_time_invariant(flow: Dataflow, read: Operand) -> bool:
    return flow.values[read.value].rate != "step"


def _reads_state_or_input(flow: Dataflow, operands: tuple[Operand, ...]) -> bool:
    """Whether moving the product would read a state or input ahead of time."""
    return any(flow.values[read.value].operation in {"state", "input"} for read in operands)
