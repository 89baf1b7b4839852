"""Gradient signatures: calls that want similar gradients share one compiled program.

Input: the gradients that a call wants. Output: one of few supersets of them.
"""

from __future__ import annotations

from rnnc.operators.graph.carry import carry_entries
from rnnc.operators.graph.operator_graph import OperatorGraph

GradientKey = tuple[str, str]
"""The kind of an argument (`parameter`, `input`, `history`, `initial`), and its name."""


def depends_on_mode(graph: OperatorGraph) -> bool:
    """Return true where a call in training computes more than one in evaluation."""
    return bool(graph.random_nodes or graph.laws or graph.loss_inputs)


def widen_gradients(
    graph: OperatorGraph, gradients: tuple[GradientKey, ...]
) -> tuple[GradientKey, ...]:
    """Round a set of gradients up: a single input or state stands for all of them.

    The carry of a learned initial value belongs to the parameters and widens nothing.
    """
    if not gradients:
        return ()
    keys, argument_keys = set(gradients), _argument_keys(graph)
    learned = {("history", s.name) for s in graph.states if ("initial", s.name) in keys}
    keys |= learned & argument_keys
    if (keys & argument_keys) - learned:
        keys |= argument_keys
    return _sort_keys(graph, keys)


def _argument_keys(graph: OperatorGraph) -> set[GradientKey]:
    keys = {("input", v.name) for v in graph.inputs if v.type.kind != "symbol"}
    return keys | {("history", entry.name) for entry in carry_entries(graph) if entry.size}


def _sort_keys(graph: OperatorGraph, keys: set[GradientKey]) -> tuple[GradientKey, ...]:
    order = [("parameter", p.name) for p in graph.parameters]
    order += [("input", v.name) for v in graph.inputs]
    order += [("history", entry.name) for entry in carry_entries(graph)]
    order += [("initial", s.name) for s in graph.states]
    return tuple(key for key in order if key in keys)
