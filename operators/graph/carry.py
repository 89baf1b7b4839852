"""The carry: values that one call hands to the next."""

from __future__ import annotations

from dataclasses import dataclass

from .operator_graph import OperatorGraph


@dataclass(frozen=True, slots=True)
class CarryEntry:
    """Carried variable: its last `steps` values of `size` entries (0 for a symbol)."""

    name: str
    steps: int
    size: int


def carry_entries(graph: OperatorGraph) -> tuple[CarryEntry, ...]:
    """Return the carry of a model: states, inputs with delayed reads, the age of a segment."""
    states = [
        CarryEntry(s.name, s.delay, s.type.size)
        for s in graph.states
        if s.node not in graph.backward_nodes
    ]
    inputs = [
        CarryEntry(i.name, i.max_delay, 0 if i.type.kind == "symbol" else i.type.size)
        for i in graph.inputs
        if i.max_delay
    ]
    age = [CarryEntry(age_name(graph), 1, 0)] if graph.has_windows else []
    return (*states, *inputs, *age)


def age_name(graph: OperatorGraph) -> str:
    """Return the name of the entry that counts a segment's steps, which windows need."""
    names = {state.name for state in graph.states} | {v.name for v in graph.inputs}
    name = "age"
    while name in names:
        name += "_"
    return name
