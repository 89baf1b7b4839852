"""What always runs: equal values become one, and what only passes values on goes away.

    add(a)                                   -> a              a read of this step
    multiply(a)                              -> a
    slice(concatenate(…, a, …))              -> a              exactly that part
    slice[0, n](a), n wide                   -> a
    slice[i, j](slice[k, l](a))              -> slice[k+i, k+j](a)
    add(pad[0, n](a), pad[len a, n](b), …)   -> concatenate(a, b, …)   parts side by side
    stopgrad(a)                              -> a              once differentiated
    stopgrad(a[t-1])                         -> add(a[t-1])    likewise, and it stays
    two values of one operation and operands -> one

Side condition: none; every rewrite keeps every bit.
"""

from __future__ import annotations

from itertools import pairwise

from rnnc.compiler.ir.builder import Builder, MutableValue
from rnnc.compiler.ir.dataflow import Dataflow, Operand
from rnnc.compiler.ir.ops import SOURCE_OPS


def canonicalize_once(dataflow: Dataflow, *, differentiated: bool = False) -> Dataflow:
    """The flow without what only passes values on."""
    draft = Builder.from_dataflow(dataflow)
    seen: dict[object, int] = {}
    count = len(draft.values)
    number = 0
    while number < count:
        value = draft.values[number]
        value.operands = tuple(draft.resolve(read) for read in value.operands)
        instead = _simplify(draft, value, differentiated=differentiated)
        if instead is not None:
            draft.replace_uses(number, instead)
        elif value.operation != "state":
            key = (value.operation, value.operands, value.attributes, value.shape)
            first = seen.setdefault(key, number)
            if first != number:
                draft.replace_uses(number, Operand(first))
        number += 1
    return draft.build()


def canonicalize(dataflow: Dataflow, *, differentiated: bool = False) -> Dataflow:
    """The flow tidied until nothing changes."""
    while True:
        smaller = canonicalize_once(dataflow, differentiated=differentiated)
        if smaller.values == dataflow.values:
            return smaller
        dataflow = smaller


def _simplify(draft: Builder, value: MutableValue, *, differentiated: bool) -> Operand | None:
    operands = value.operands
    if value.operation in SOURCE_OPS or not operands:
        return None
    first = operands[0]
    if len(operands) == 1 and value.operation in {"add", "multiply", "concatenate"}:
        # A delayed read stays: its reader may not look back, or may count steps (`to_history`).
        same = draft.values[first.value]
        if not first.delay and same.shape == value.shape and same.rate == value.rate:
            return first
    if value.operation == "stopgrad" and differentiated:
        if not first.delay:
            return first
        # What it saw at its own step is another value than a reader at other steps would see.
        value.operation = "add"
        return None
    if value.operation == "add":
        return _pads_to_concatenation(draft, value)
    if value.operation == "slice":
        return _simplify_slice(draft, value)
    return None


def _simplify_slice(draft: Builder, value: MutableValue) -> Operand | None:
    start, stop = (int(a) for a in value.attributes)
    read = value.operands[0]
    source = draft.values[read.value]
    if (start, stop) == (0, source.shape[0]) and not read.delay:
        return read
    if source.operation == "slice" and not read.delay:
        inner = int(source.attributes[0])
        value.operands = source.operands
        value.attributes = (inner + start, inner + stop)
        return _simplify_slice(draft, value)
    if source.operation == "concatenate" and not read.delay:
        at = 0
        for part in source.operands:
            width = draft.width(part)
            if (at, at + width) == (start, stop) and not part.delay:
                return part
            if at <= start and stop <= at + width:
                value.operands, value.attributes = (part,), (start - at, stop - at)
                return None
            at += width
    return None


def _pads_to_concatenation(draft: Builder, value: MutableValue) -> Operand | None:
    parts: list[tuple[int, int, Operand]] = []
    for read in value.operands:
        source = draft.values[read.value]
        if source.operation != "pad" or read.delay:
            return None
        part = source.operands[0]
        if part.delay:
            return None
        start = int(source.attributes[0])
        parts.append((start, start + draft.width(part), part))
    parts.sort(key=lambda item: item[0])
    edges = [(0, 0), *((start, stop) for start, stop, _ in parts), (value.shape[0], 0)]
    if any(before[1] != after[0] for before, after in pairwise(edges)):
        return None
    return draft.create(
        "concatenate", *(part for _, _, part in parts), adjoint=value.adjoint, origin=value.origin
    )
