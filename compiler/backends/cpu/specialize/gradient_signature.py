"""Calls that differ little share a program: which gradients a program is made for."""

from __future__ import annotations

from rnnc.operators.graph.carry import carry_entries
from rnnc.operators.graph.operator_graph import OperatorGraph

GradientKey = tuple[str, str]


def depends_on_mode(graph: OperatorGraph) -> bool:
    """Whether a call in training computes anything else than one out of it."""
    return bool(graph.random_nodes or graph.laws or graph.loss_inputs)


def widen_gradients(
    graph: OperatorGraph, gradients: tuple[GradientKey, ...]
) -> tuple[GradientKey, ...]:
    """Some gradients, and those of all inputs and states if one of these is among them."""
    if not gradients:
        return ()
    keys = set(gradients)
    learned = {("history", s.name) for s in graph.states if ("initial", s.name) in keys}
    keys |= learned & _argument_keys(graph)
    if (keys & _argument_keys(graph)) - learned:
        keys |= _argument_keys(graph)
    return _sort_keys(graph, keys)


def _argument_keys(graph: OperatorGraph) -> set[GradientKey]:
    keys = {("input", v.name) for v in graph.inputs if v.type.kind != "symbol"}
    return keys | {("history", item.name) for item in carry_entries(graph) if item.size}


def _sort_keys(graph: OperatorGraph, keys: set[GradientKey]) -> tuple[GradientKey, ...]:
    every = [("parameter", p.name) for p in graph.parameters]
    every += [("input", v.name) for v in graph.inputs]
    every += [("history", item.name) for item in carry_entries(graph)]
    every += [("initial", s.name) for s in graph.states]
    return tuple(key for key in every if key in keys)
