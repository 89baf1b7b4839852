"""Aliasing: values that lie inside of the buffer of another value."""

from __future__ import annotations

from rnnc.compiler.ir.dataflow import Dataflow, Value

ARGUMENT_OPS = frozenset({"parameter", "constant", "mask", "input", "seed"})
"""Values that come with the call; inputs and seeds get a buffer only where they are shifted."""


def find_aliases(
    flow: Dataflow, phase_of: dict[int, int], order: dict[int, int]
) -> dict[int, tuple[int, int]]:
    """For a value that lies in another one: that one, and from which entry on."""
    parent: dict[int, tuple[int, int]] = {}
    owned: set[int] = set()
    for number in order:
        value = flow.values[number]
        if value.operation == "slice":
            source = value.operands[0]
            if not source.delay and source.value in phase_of and value.rate != "call":
                parent[number] = (source.value, int(value.attributes[0]))
        elif value.operation == "state":
            source = value.operands[0]
            if _can_alias(flow, phase_of, parent, owned, number, source.value, source.delay):
                parent[source.value] = (number, 0)
                owned.add(source.value)
        elif value.operation == "concatenate" and value.rate == "step":
            longer = _find_extended_concatenation(flow, parent, owned, value)
            if longer is not None:
                parent[number] = longer
                # It lies at the end of its buffer, so it is in no other concatenation, nor another
                # one behind it.
                owned.add(longer[0])
            start = 0
            for source in value.operands:
                if _can_alias(flow, phase_of, parent, owned, number, source.value, source.delay):
                    parent[source.value] = (number, start)
                    owned.add(source.value)
                start += flow.values[source.value].size
    return parent


def _find_extended_concatenation(
    flow: Dataflow, parent: dict[int, tuple[int, int]], owned: set[int], value: Value
) -> tuple[int, int] | None:
    """A concatenation that ends with what a value begins with, and from which entry on."""
    first = value.operands[0]
    if first.delay or first.value not in parent:
        return None
    other, start = parent[first.value]
    whole = flow.values[other]
    if (
        whole.operation != "concatenate"
        or other in parent
        or other in owned
        or (whole.adjoint, whole.rate) != (value.adjoint, value.rate)
        or first not in whole.operands
    ):
        return None
    shared = whole.operands[whole.operands.index(first) :]
    if value.operands[: len(shared)] != shared or len(shared) == len(value.operands):
        return None
    at = start
    for read in shared:
        if read.delay or parent.get(read.value) != (other, at):
            return None
        at += flow.values[read.value].size
    return other, start


def _can_alias(
    flow: Dataflow,
    phase_of: dict[int, int],
    parent: dict[int, tuple[int, int]],
    owned: set[int],
    into: int,
    number: int,
    delay: int,
) -> bool:
    """Whether a value may be computed right where a state or concatenation wants it."""
    value = flow.values[number]
    return (
        not delay
        and value.rate == "step"
        and value.operation not in ARGUMENT_OPS | {"slice", "state"}
        and number not in parent
        and number not in owned
        and _is_same_pass(flow, phase_of, number, into)
        and flow.values[into].rate == "step"
        and (flow.values[into].operation == "concatenate" or not _has_delayed_use(flow, number))
    )


def _is_same_pass(flow: Dataflow, phase_of: dict[int, int], number: int, into: int) -> bool:
    """Whether both are of one phase; a concatenation may also collect from earlier ones."""
    if flow.values[into].operation == "concatenate":
        return number in phase_of and flow.values[number].adjoint == flow.values[into].adjoint
    return phase_of.get(number) == phase_of[into]


def _has_delayed_use(flow: Dataflow, number: int) -> bool:
    """Whether a value is read at another time: a state's history does not belong to it."""
    return any(
        read.delay
        for reader in flow.users[number]
        for read in flow.values[reader].operands
        if read.value == number
    )


def resolve_alias(parent: dict[int, tuple[int, int]], number: int) -> tuple[int, int]:
    start = 0
    while number in parent:
        number, offset = parent[number]
        start += offset
    return number, start
