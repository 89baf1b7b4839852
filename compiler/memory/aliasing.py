"""Aliasing: which value lies inside of another value's buffer.

A slice lies in its source, a state in its next value, the parts of a concatenation side by side in
it, wherever no other use forbids it; so does a concatenation in one that ends with the parts that
it begins with.
"""

from __future__ import annotations

from rnnc.compiler.ir.dataflow import Dataflow, Value

ARGUMENT_OPS = frozenset({"parameter", "constant", "mask", "input", "seed"})
"""Values that come with the call; inputs and seeds get a buffer only where they are shifted."""

Parents = dict[int, tuple[int, int]]
"""By the id of a value that lies in another one: the id of that one, and the first entry."""


def find_aliases(dataflow: Dataflow, phase_of: dict[int, int], order: dict[int, int]) -> Parents:
    """Choose the parent of each value that can lie in another one, in execution order."""
    parents: Parents = {}
    # Values with a place in a state or concatenation, or that another concatenation extends:
    # a value can have only one place.
    owned: set[int] = set()
    for value_id in order:
        value = dataflow.values[value_id]
        if value.operation == "slice":
            source = value.operands[0]
            if not source.delay and source.value in phase_of and value.rate != "call":
                parents[value_id] = (source.value, int(value.attributes[0]))
        elif value.operation == "state":
            source = value.operands[0]
            if not source.delay and _can_alias(
                dataflow, phase_of, parents, owned, source.value, value_id
            ):
                parents[source.value] = (value_id, 0)
                owned.add(source.value)
        elif value.operation == "concatenate" and value.rate == "step":
            extended = _find_extended_concatenation(dataflow, parents, owned, value)
            if extended is not None:
                parents[value_id] = extended
                # It now ends its buffer: no other concatenation may lie behind it.
                owned.add(extended[0])
            start = 0
            for source in value.operands:
                if not source.delay and _can_alias(
                    dataflow, phase_of, parents, owned, source.value, value_id
                ):
                    parents[source.value] = (value_id, start)
                    owned.add(source.value)
                start += dataflow.values[source.value].size
    return parents


def resolve_alias(parents: Parents, value_id: int) -> tuple[int, int]:
    """Return the outermost parent of a value, or itself, and the value's first entry there."""
    offset = 0
    while value_id in parents:
        value_id, start = parents[value_id]
        offset += start
    return value_id, offset


def _find_extended_concatenation(
    dataflow: Dataflow, parents: Parents, owned: set[int], value: Value
) -> tuple[int, int] | None:
    """Find a concatenation that ends with the parts that `value` begins with, and their start."""
    first = value.operands[0]
    if first.delay or first.value not in parents:
        return None
    other_id, start = parents[first.value]
    other = dataflow.values[other_id]
    if (
        other.operation != "concatenate"
        or other_id in parents
        or other_id in owned
        or (other.adjoint, other.rate) != (value.adjoint, value.rate)
        or first not in other.operands
    ):
        return None
    shared = other.operands[other.operands.index(first) :]
    if value.operands[: len(shared)] != shared or len(shared) == len(value.operands):
        return None
    offset = start
    for operand in shared:
        if operand.delay or parents.get(operand.value) != (other_id, offset):
            return None
        offset += dataflow.values[operand.value].size
    return other_id, start


def _can_alias(
    dataflow: Dataflow,
    phase_of: dict[int, int],
    parents: Parents,
    owned: set[int],
    value_id: int,
    parent_id: int,
) -> bool:
    """Return True if a value may be computed directly into a state or concatenation."""
    value, parent = dataflow.values[value_id], dataflow.values[parent_id]
    return (
        value.rate == "step"
        and value.operation not in ARGUMENT_OPS | {"slice", "state"}
        and value_id not in parents
        and value_id not in owned
        and _is_within_reach(dataflow, phase_of, value_id, parent_id)
        and parent.rate == "step"
        and (parent.operation == "concatenate" or not _has_delayed_use(dataflow, value_id))
    )


def _is_within_reach(
    dataflow: Dataflow, phase_of: dict[int, int], value_id: int, parent_id: int
) -> bool:
    # A state is written in its own phase alone; a concatenation collects from earlier ones, too.
    value, parent = dataflow.values[value_id], dataflow.values[parent_id]
    if parent.operation == "concatenate":
        return value_id in phase_of and value.adjoint == parent.adjoint
    return phase_of.get(value_id) == phase_of[parent_id]


def _has_delayed_use(dataflow: Dataflow, value_id: int) -> bool:
    # Such a value must not lie in a state: the state's carry is not part of it.
    return any(
        operand.delay
        for user in dataflow.users[value_id]
        for operand in dataflow.values[user].operands
        if operand.value == value_id
    )
