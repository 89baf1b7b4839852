"""Contract groups of graph nodes to boxes: edges between groups, one box for each delay."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from rnnc.operators.graph.operator_graph import OperatorGraph
from rnnc.runtime.diagrams.model.diagram import Box, Cluster, Diagram, Edge, EdgeKind, Level
from rnnc.runtime.diagrams.model.labels import delay_label

GraphEdge = tuple[int, int, int]
"""An edge of the operator graph: source, target, delay."""

BoxLink = tuple[str, str, GraphEdge]
"""An edge between boxes: key of the source box, key of the target box, graph edge."""


def contract_graph(
    graph: OperatorGraph,
    level: Level,
    boxes: Sequence[Box],
    clusters: Sequence[Cluster],
    links: Iterable[BoxLink],
    *,
    merge: bool,
    captions: tuple[str, ...] = (),
) -> Diagram:
    """Build the diagram of grouped nodes; `merge` draws parallel edges as one.

    A value that is read some steps later goes through one z⁻¹ box, shared by all its readers.
    """
    delays: dict[str, Box] = {}
    merged: dict[tuple[str, str, int], list[GraphEdge]] = {}
    unmerged: list[tuple[str, str, GraphEdge]] = []
    for source, target, edge_key in links:
        steps = edge_key[2]
        if steps:
            number = edge_key[0]
            key = delay_key(number, steps)
            if key not in delays:
                delays[key] = _delay_box(graph, key, number, steps)
                unmerged.append((source, key, edge_key))
            source = key
        if merge:
            merged.setdefault((source, target, steps), []).append(edge_key)
        else:
            unmerged.append((source, target, edge_key))
    edges = [
        Edge(s, t, edge_key[2] if t in delays else 0, _edge_kind(edge_key[2]), "", (edge_key,))
        for s, t, edge_key in unmerged
    ]
    edges += [
        Edge(s, t, 0, _edge_kind(steps), "", tuple(dict.fromkeys(edge_keys)))
        for (s, t, steps), edge_keys in merged.items()
    ]
    outgoing: dict[str, list[GraphEdge]] = {key: [] for key in delays}
    for edge in edges:
        if edge.source in outgoing:
            outgoing[edge.source] += edge.members
    # The edge into a z⁻¹ box has the members of all edges out of it.
    edges = [
        replace(e, members=tuple(outgoing[e.target])) if e.target in outgoing else e for e in edges
    ]
    return Diagram(
        graph.name, level, (*delays.values(), *boxes), tuple(clusters), tuple(edges), captions
    )


def output_links(graph: OperatorGraph, group_of: dict[int, str]) -> list[BoxLink]:
    """Return the links from nodes to outputs."""
    return [
        (
            group_of[output.value.node],
            f"y{index}",
            (output.value.node, -1 - index, output.value.delay),
        )
        for index, output in enumerate(graph.outputs)
    ]


def delay_key(number: int, steps: int) -> str:
    """Return the key of the box that delays a node's value by some steps."""
    return f"z{number}_{steps}" if steps > 0 else f"z{number}_ahead{-steps}"


def _edge_kind(steps: int) -> EdgeKind:
    return "flow" if steps == 0 else "past" if steps > 0 else "future"


def _delay_box(graph: OperatorGraph, key: str, number: int, steps: int) -> Box:
    variable = str(graph.nodes[number].attributes[0]) if graph.nodes[number].attributes else "value"
    unit = "step" if abs(steps) == 1 else "steps"
    description = f"{abs(steps)} {unit} {'ago' if steps > 0 else 'ahead'}"
    return Box(
        key,
        "past" if steps > 0 else "future",
        delay_label(steps),
        details=(("delay", f"{variable}, {description}"),),
        location=None,
    )
