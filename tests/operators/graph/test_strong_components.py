"""Strongly connected components, compared with networkx's."""

from __future__ import annotations

import networkx as nx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnnc.operators.analyze import analyze
from rnnc.operators.graph.strong_components import strong_components
from rnnc.operators.sources.zoo import zoo_names, zoo_source

GRAPHS = st.integers(1, 9).flatmap(
    lambda size: st.lists(
        st.lists(st.integers(0, size - 1), max_size=4), min_size=size, max_size=size
    )
)


@given(GRAPHS)
def test_components_are_those_of_networkx(targets: list[list[int]]) -> None:
    graph: nx.DiGraph[int] = nx.DiGraph()
    graph.add_nodes_from(range(len(targets)))
    graph.add_edges_from((u, v) for u, reached in enumerate(targets) for v in reached)
    components = [frozenset(part) for part in strong_components(targets)]
    assert set(components) == {frozenset(part) for part in nx.strongly_connected_components(graph)}
    assert sum(map(len, components)) == len(targets)
    place = {node: number for number, part in enumerate(components) for node in part}
    assert all(place[v] <= place[u] for u, v in graph.edges)


def test_a_long_chain_and_a_long_cycle_need_no_deep_stack() -> None:
    size = 20_000
    chain = [[n + 1] for n in range(size - 1)] + [[]]
    assert sum(1 for _ in strong_components(chain)) == size
    cycle = [[(n + 1) % size] for n in range(size)]
    assert [len(part) for part in strong_components(cycle)] == [size]


@pytest.mark.parametrize("name", zoo_names())
def test_a_models_components_are_those_of_its_network(name: str) -> None:
    graph = analyze(zoo_source(name)).require_graph()
    expected = {frozenset(part) for part in nx.strongly_connected_components(graph.to_networkx())}
    assert {frozenset(part) for part in graph.components} == expected
    place = {node: number for number, part in enumerate(graph.components) for node in part}
    assert all(place[u] <= place[v] for u, v, _ in graph.edges())
