"""Canonicalize to a fixed point: simplify, unify equal values (CSE), drop dead ones (DCE).

    add(a)                                   -> a              a used at this step
    multiply(a)                              -> a
    slice(concatenate(…, a, …))              -> a              exactly that part
    slice[0, n](a), n wide                   -> a
    slice[i, j](slice[k, l](a))              -> slice[k+i, k+j](a)
    add(pad[0, n](a), pad[len a, n](b), …)   -> concatenate(a, b, …)   parts side by side
    stopgrad(a)                              -> a              once differentiated
    stopgrad(a[t-1])                         -> add(a[t-1])    likewise, and it stays
    two values of one operation and operands -> one

No condition; every rewrite is bit-exact.
"""

from __future__ import annotations

from itertools import pairwise

from rnnc.compiler.ir.builder import Builder, MutableValue
from rnnc.compiler.ir.dataflow import Dataflow, Operand
from rnnc.compiler.ir.ops import SOURCE_OPS


def canonicalize(dataflow: Dataflow, *, differentiated: bool = False) -> Dataflow:
    """Canonicalize until nothing changes; `differentiated` removes stopgrad, too."""
    while True:
        simplified = canonicalize_once(dataflow, differentiated=differentiated)
        if simplified.values == dataflow.values:
            return simplified
        dataflow = simplified


def canonicalize_once(dataflow: Dataflow, *, differentiated: bool = False) -> Dataflow:
    """Apply the rewrites once to each value, operands first."""
    builder = Builder.from_dataflow(dataflow)
    first_equal: dict[object, int] = {}
    for value_id in range(len(builder.values)):
        value = builder.values[value_id]
        value.operands = tuple(builder.resolve(operand) for operand in value.operands)
        replacement = _simplify(builder, value, differentiated=differentiated)
        if replacement is not None:
            builder.replace_uses(value_id, replacement)
        elif value.operation != "state":
            key = (value.operation, value.operands, value.attributes, value.shape)
            equal_id = first_equal.setdefault(key, value_id)
            if equal_id != value_id:
                builder.replace_uses(value_id, Operand(equal_id))
    return builder.build()


def _simplify(builder: Builder, value: MutableValue, *, differentiated: bool) -> Operand | None:
    """Return a value's replacement, or None; may rewrite the value itself."""
    operands = value.operands
    if value.operation in SOURCE_OPS or not operands:
        return None
    first = operands[0]
    if len(operands) == 1 and value.operation in {"add", "multiply", "concatenate"}:
        # A delayed operand needs the value: its users may not look back, or count its steps.
        source = builder.values[first.value]
        if not first.delay and source.shape == value.shape and source.rate == value.rate:
            return first
    if value.operation == "stopgrad" and differentiated:
        if not first.delay:
            return first
        # Delays do not add up over segment boundaries, so the delayed operand needs a value.
        value.operation = "add"
        return None
    if value.operation == "add":
        return _pads_to_concatenation(builder, value)
    if value.operation == "slice":
        return _simplify_slice(builder, value)
    return None


def _simplify_slice(builder: Builder, value: MutableValue) -> Operand | None:
    start, stop = (int(a) for a in value.attributes)
    operand = value.operands[0]
    source = builder.values[operand.value]
    if (start, stop) == (0, source.shape[0]) and not operand.delay:
        return operand
    if source.operation == "slice" and not operand.delay:
        offset = int(source.attributes[0])
        value.operands = source.operands
        value.attributes = (offset + start, offset + stop)
        return _simplify_slice(builder, value)
    if source.operation == "concatenate" and not operand.delay:
        offset = 0
        for part in source.operands:
            width = builder.width(part)
            if (offset, offset + width) == (start, stop) and not part.delay:
                return part
            if offset <= start and stop <= offset + width:
                value.operands, value.attributes = (part,), (start - offset, stop - offset)
                return None
            offset += width
    return None


def _pads_to_concatenation(builder: Builder, value: MutableValue) -> Operand | None:
    """Create the concatenation that equals a sum of pads, if these fill it without overlap."""
    parts: list[tuple[int, int, Operand]] = []
    for operand in value.operands:
        source = builder.values[operand.value]
        if source.operation != "pad" or operand.delay:
            return None
        part = source.operands[0]
        if part.delay:
            return None
        start = int(source.attributes[0])
        parts.append((start, start + builder.width(part), part))
    parts.sort(key=lambda part: part[0])
    edges = [(0, 0), *((start, stop) for start, stop, _ in parts), (value.shape[0], 0)]
    if any(left[1] != right[0] for left, right in pairwise(edges)):
        return None
    return builder.create(
        "concatenate", *(part for _, _, part in parts), adjoint=value.adjoint, origin=value.origin
    )
