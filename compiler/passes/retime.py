"""What is read one step away is computed where it is read.

    p = matmul(W, a), read as p[t+1] alone        -> matmul(W, a[t+1])
    p = multiply(a, b), read as p[t+1] alone      -> multiply(a[t+1], b[t+1])

So that a step of the backward loop begins with its products, as a forward step does, and what
follows is their epilogue. Side condition: adjoint, in a cycle, one reader at one delay, which is no
boundary of a segment; zero outside of the segment stays zero. Keeps every bit.
"""

from __future__ import annotations

from rnnc.compiler.ir.builder import Draft
from rnnc.compiler.ir.dataflow import Flow, Read


def retime(flow: Flow) -> Flow:
    """The flow with products at the step of their reader."""
    draft = Draft.of(flow)
    kept = {read.value for read in flow.results}
    kept |= {gradient.value for gradient in flow.gradients}
    for value in flow.values:
        if not value.adjoint or value.operation not in {"matmul", "multiply"}:
            continue
        if value.number not in flow.cyclic or value.number in kept:
            continue
        reads = [
            (reader, read.delay)
            for reader in flow.readers[value.number]
            for read in flow.values[reader].operands
            if read.value == value.number
        ]
        if len(reads) != 1 or reads[0][1] == 0:
            continue
        reader, delay = reads[0]
        if flow.values[reader].operation in {"to_history", "to_initial"}:
            continue
        if any(read.delay for read in value.operands):
            continue
        if _is_forward_bounded(flow, value.operands):
            continue
        draft.values[value.number].operands = tuple(
            Read(read.value, read.delay if _is_fixed(flow, read) else read.delay + delay)
            for read in value.operands
        )
        draft.values[reader].operands = tuple(
            Read(read.value) if read.value == value.number else read
            for read in draft.values[reader].operands
        )
    return draft.finish()


def _is_fixed(flow: Flow, read: Read) -> bool:
    return flow.values[read.value].rate != "step"


def _is_forward_bounded(flow: Flow, operands: tuple[Read, ...]) -> bool:
    """Whether moving the product would read a state or input ahead of time."""
    return any(flow.values[read.value].operation in {"state", "input"} for read in operands)
