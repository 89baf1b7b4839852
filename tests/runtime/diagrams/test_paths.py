"""Highlighted paths are as long as the depth measures say."""

from __future__ import annotations

from fractions import Fraction

import pytest

from rnnc.operators.analysis.depth import measure_depth
from rnnc.operators.graph.operator_graph import OperatorGraph
from rnnc.operators.sources.zoo import zoo_names
from rnnc.runtime.diagrams.model.depth_paths import MEASURES, EdgeSet
from support.diagrams import DELAYS, draw_diagram, graph_of, zoo_graph


def length(graph: OperatorGraph, flows: EdgeSet) -> int:
    """Count products with learned matrices on a path."""
    total = 0
    for _, target, _ in flows:
        node = graph.nodes[target] if target >= 0 else None
        if node and node.operation in {"matmul", "lookup"}:
            weight = graph.nodes[node.operands[0].node]
            if weight.operation == "parameter":
                total += graph.parameters_by_name[str(weight.attributes[0])].is_matrix
    return total


def is_cycle(flows: EdgeSet) -> bool:
    following = {source: target for source, target, _ in flows}
    if len(following) != len(flows):
        return False
    start = node = next(iter(following))
    for _ in flows:
        node = following.get(node, -1)
    return node == start


GRAPHS = [*zoo_names(), "delays"]


@pytest.mark.parametrize("name", GRAPHS)
def test_paths_have_the_length_of_their_measure(name: str) -> None:
    graph = graph_of(DELAYS) if name == "delays" else zoo_graph(name)
    measures = measure_depth(graph)
    assert length(graph, MEASURES["input-to-hidden"](graph)) == measures.input_to_hidden
    assert length(graph, MEASURES["hidden-to-hidden"](graph)) == measures.hidden_to_hidden
    assert length(graph, MEASURES["hidden-to-output"](graph)) == measures.hidden_to_output
    path = MEASURES["feedforward-depth"](graph)
    delays = sum(abs(delay) for _, _, delay in path)
    assert length(graph, path) - delays * measures.recurrent_depth == measures.feedforward_depth
    if not graph.recurrent_nodes:
        return
    cycle = MEASURES["recurrent-depth"](graph)
    assert is_cycle(cycle)
    assert (
        Fraction(length(graph, cycle), sum(abs(d) for _, _, d in cycle)) == measures.recurrent_depth
    )
    cycle = MEASURES["skip-coefficient"](graph)
    assert is_cycle(cycle)
    delays = sum(abs(d) for _, _, d in cycle)
    if measures.skip_coefficient is None:
        assert length(graph, cycle) == 0
    else:
        assert Fraction(delays, length(graph, cycle)) == measures.skip_coefficient


def test_a_broken_cycle_is_none() -> None:
    cycle = MEASURES["recurrent-depth"](zoo_graph("dts_rnn"))
    assert is_cycle(cycle)
    assert not is_cycle(frozenset(sorted(cycle)[1:]))


@pytest.mark.parametrize("measure", MEASURES)
def test_marks_show_at_every_level(measure: str) -> None:
    for level in ("operator", "layer", "primitive"):
        diagram = draw_diagram(zoo_graph("dots_rnn"), level, measure=measure)  # type: ignore[arg-type]
        assert any(edge.highlighted for edge in diagram.edges)
        assert any(box.highlighted for box in diagram.boxes)
        assert not all(edge.highlighted for edge in diagram.edges)


def test_the_deep_transition_is_what_is_marked() -> None:
    diagram = draw_diagram(zoo_graph("dts_rnn"), "layer", measure="recurrent-depth")
    arrays = {a for b in diagram.boxes if b.highlighted and b.role == "map" for a in b.parameters}
    assert arrays == {"plus.W_1", "plus.W_2"}
