"""Calls that differ little share a program: which gradients a program is made for."""

from __future__ import annotations

from rnnc.operators.graph.carry import carried
from rnnc.operators.graph.operator_graph import OperatorGraph

Key = tuple[str, str]


def tells_modes_apart(graph: OperatorGraph) -> bool:
    """Whether a call in training computes anything else than one out of it."""
    return bool(graph.random or graph.laws or graph.kept)


def rounded_up(graph: OperatorGraph, wanted: tuple[Key, ...]) -> tuple[Key, ...]:
    """Some gradients, and those of all inputs and states if one of these is among them."""
    if not wanted:
        return ()
    keys = set(wanted)
    learned = {("history", s.name) for s in graph.states if ("initial", s.name) in keys}
    keys |= learned & _given(graph)
    if (keys & _given(graph)) - learned:
        keys |= _given(graph)
    return _in_order(graph, keys)


def _given(graph: OperatorGraph) -> set[Key]:
    keys = {("input", v.name) for v in graph.inputs if v.type.kind != "symbol"}
    return keys | {("history", item.name) for item in carried(graph) if item.size}


def _in_order(graph: OperatorGraph, keys: set[Key]) -> tuple[Key, ...]:
    every = [("parameter", p.name) for p in graph.parameters]
    every += [("input", v.name) for v in graph.inputs]
    every += [("history", item.name) for item in carried(graph)]
    every += [("initial", s.name) for s in graph.states]
    return tuple(key for key in every if key in keys)
