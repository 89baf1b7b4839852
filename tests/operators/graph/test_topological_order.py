"""Topological orders of operator graphs: operands first, cycles without delay left out."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rnnc.grammar.source import Source
from rnnc.operators.analyze import analyze
from rnnc.operators.graph.operator_graph import Operand, OperatorGraph
from rnnc.operators.graph.topological_order import topological_order
from rnnc.operators.sources.zoo import zoo_names, zoo_source

CHAIN = "input x: real\nstate h: real\nh' = tanh(x + h)\nx' = exp(h')\n"


def is_sorted(graph: OperatorGraph, order: list[int]) -> bool:
    position = {node: index for index, node in enumerate(order)}
    return all(
        position[operand.node] < position[node]
        for node in order
        for operand in graph.nodes[node].operands
        if not operand.delay and operand.node in position
    )


@pytest.mark.parametrize("name", zoo_names())
def test_operands_of_the_same_step_come_first(name: str) -> None:
    graph = analyze(zoo_source(name)).require_graph()
    order = topological_order(graph)
    assert sorted(order) == list(range(len(graph.nodes)))
    assert is_sorted(graph, order)
    assert not is_sorted(graph, order[::-1])
    for component in graph.components:
        part = topological_order(graph, component)
        assert sorted(part) == list(component)
        assert is_sorted(graph, part)


def test_a_cycle_without_delay_is_left_out_with_its_readers() -> None:
    graph = analyze(Source(CHAIN)).require_graph()
    (tanh,) = (node for node in graph.nodes if node.operation == "tanh")
    looped = replace(tanh, operands=(Operand(tanh.id),))
    nodes = tuple(looped if node is tanh else node for node in graph.nodes)
    left_out = {n.operation for n in nodes} - {
        nodes[n].operation for n in topological_order(replace(graph, nodes=nodes))
    }
    assert left_out == {"tanh", "state", "exp"}
