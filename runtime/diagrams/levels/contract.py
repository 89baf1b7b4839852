"""Groups of a graph's nodes -> a diagram: edges between groups, one box for each delay."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from rnnc.operators.graph.operator_graph import OperatorGraph
from rnnc.runtime.diagrams.model.diagram import Box, Cluster, Diagram, Edge, EdgeKind, Level
from rnnc.runtime.diagrams.model.labels import delay_label

GraphEdge = tuple[int, int, int]
"""An edge of the operator graph: source, target, delay."""

BoxLink = tuple[str, str, GraphEdge]
"""A value that box `target` takes from node `flow[0]`: box of the source, target, edge."""


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
    """The diagram whose boxes are groups of nodes; `merge` draws parallel edges as one.

    A value that is read some steps later goes through one z⁻¹ box, shared by all its readers.
    """
    delays: dict[str, Box] = {}
    found: dict[tuple[str, str, int], list[GraphEdge]] = {}
    single: list[tuple[str, str, GraphEdge]] = []
    for source, target, flow in links:
        steps = flow[2]
        if steps:
            number = flow[0]
            key = delay_key(number, steps)
            if key not in delays:
                delays[key] = _delay_box(graph, key, number, steps)
                single.append((source, key, flow))
            source = key
        if merge:
            found.setdefault((source, target, steps), []).append(flow)
        else:
            single.append((source, target, flow))
    edges = [
        Edge(s, t, flow[2] if t in delays else 0, _edge_kind(flow[2]), "", (flow,))
        for s, t, flow in single
    ]
    edges += [
        Edge(s, t, 0, _edge_kind(steps), "", tuple(dict.fromkeys(flows)))
        for (s, t, steps), flows in found.items()
    ]
    leaving: dict[str, list[GraphEdge]] = {key: [] for key in delays}
    for edge in edges:
        if edge.source in leaving:
            leaving[edge.source] += edge.members
    # The edge into a z⁻¹ box stands for all that leave it.
    edges = [
        replace(e, members=tuple(leaving[e.target])) if e.target in leaving else e for e in edges
    ]
    return Diagram(
        graph.name, level, (*delays.values(), *boxes), tuple(clusters), tuple(edges), captions
    )


def output_links(graph: OperatorGraph, group_of: dict[int, str]) -> list[BoxLink]:
    """What the outputs take."""
    return [
        (
            group_of[output.value.node],
            f"y{index}",
            (output.value.node, -1 - index, output.value.delay),
        )
        for index, output in enumerate(graph.outputs)
    ]


def delay_key(number: int, steps: int) -> str:
    """The key of the box that holds a node's value for later (or earlier) steps."""
    return f"z{number}_{steps}" if steps > 0 else f"z{number}_ahead{-steps}"


def _edge_kind(steps: int) -> EdgeKind:
    return "flow" if steps == 0 else "past" if steps > 0 else "future"


def _delay_box(graph: OperatorGraph, key: str, number: int, steps: int) -> Box:
    variable = str(graph.nodes[number].attributes[0]) if graph.nodes[number].attributes else "value"
    unit = "step" if abs(steps) == 1 else "steps"
    when = f"{abs(steps)} {unit} {'ago' if steps > 0 else 'ahead'}"
    return Box(
        key,
        "past" if steps > 0 else "future",
        delay_label(steps),
        details=(("delay", f"{variable}, {when}"),),
        location=None,
    )
