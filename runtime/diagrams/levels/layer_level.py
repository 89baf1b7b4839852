"""Build the layer level: weights, activations and gates, framed by their operators.

Operators may be folded into one box each; with all of them folded it is the operator level, as
in figure 4 of Pascanu et al. (2014).
"""

from __future__ import annotations

from collections.abc import Collection

from rnnc.operators.graph.operator_graph import Application, OperatorGraph
from rnnc.runtime.diagrams.model.diagram import Box, Diagram, Level
from rnnc.runtime.diagrams.model.labels import Label, name_label, plain_label

from .clusters import (
    application_details,
    build_clusters,
    cluster_key,
    outermost_application,
    parameters_inside,
)
from .contract import BoxLink, contract_graph, output_links
from .units import build_unit_box, group_units
from .variables import source_location, variable_boxes


def layer_diagram(graph: OperatorGraph) -> Diagram:
    """Build the diagram with every operator unfolded."""
    return folded_diagram(graph, (), "layer")


def operator_diagram(graph: OperatorGraph) -> Diagram:
    """Build the diagram with every operator folded into one box."""
    return folded_diagram(graph, top_applications(graph), "operator")


def top_applications(graph: OperatorGraph) -> tuple[int, ...]:
    """Return the outermost applications that outputs or states depend on."""
    needed = reachable_nodes(graph)
    used = {outermost_application(graph, graph.nodes[number].application) for number in needed}
    return tuple(sorted(used - {-1}))


def reachable_nodes(graph: OperatorGraph) -> frozenset[int]:
    """Return the nodes that outputs and states depend on; nodes for laws alone are left out."""
    waiting = [output.value.node for output in graph.outputs]
    waiting += [state.node for state in graph.states] + [i.node for i in graph.inputs]
    needed: set[int] = set()
    while waiting:
        number = waiting.pop()
        if number not in needed:
            needed.add(number)
            waiting += [operand.node for operand in graph.nodes[number].operands]
    return frozenset(needed)


def folded_diagram(graph: OperatorGraph, folded: Collection[int], level: Level) -> Diagram:
    """Build the layer level with the given outermost applications as one box each."""
    needed = reachable_nodes(graph)
    inside = {
        number: outermost_application(graph, graph.nodes[number].application)
        for number in sorted(needed)
    }
    closed = frozenset(folded)
    open_nodes = frozenset(n for n in needed if inside[n] not in closed)
    units = group_units(graph, open_nodes)
    boxes = variable_boxes(graph)
    group_of = {box.members[0]: box.key for box in boxes if box.members}
    drawn: list[tuple[int, Box]] = []
    for head, members in units.members().items():
        node = graph.nodes[head]
        box = build_unit_box(graph, node, members, cluster_key(node.application))
        drawn.append((head, box))
        group_of |= dict.fromkeys(members, box.key)
    members_of: dict[int, list[int]] = {}
    for number, outer in inside.items():
        members_of.setdefault(outer, []).append(number)
    for number in folded:
        members = members_of.get(number, [])
        if members:
            box = operator_box(graph, graph.applications[number], members)
            drawn.append((members[0], box))
            group_of |= dict.fromkeys(members, box.key)
    boxes += [box for _, box in sorted(drawn, key=lambda item: item[0])]
    links: list[BoxLink] = []
    for node in graph.nodes:
        target = group_of.get(node.id)
        for operand in node.operands:
            source = group_of.get(operand.node)
            if node.id not in needed or source is None or target is None:
                continue
            if source != target or operand.delay:
                links.append((source, target, (operand.node, node.id, operand.delay)))
    links += output_links(graph, group_of)
    used = {box.cluster for box in boxes}
    parents = {cluster_key(a.id): cluster_key(a.parent) for a in graph.applications}
    for key in list(used):
        while key:
            used.add(key)
            key = parents[key]
    clusters = build_clusters(graph, lambda number: cluster_key(number) in used)
    return contract_graph(
        graph, level, boxes, clusters, links, merge=True, captions=_captions(graph)
    )


def operator_box(graph: OperatorGraph, application: Application, members: list[int]) -> Box:
    """Build the box of a folded application."""
    count = sum(graph.parameters_by_name[p].numel for p in parameters_inside(graph, application))
    notes: tuple[Label, ...] = (plain_label(f"{count:,}"),) if count else ()
    return Box(
        cluster_key(application.id),
        "operator",
        name_label(application.name),
        notes,
        members=tuple(members),
        details=application_details(graph, application),
        location=source_location(application.span),
    )


def _captions(graph: OperatorGraph) -> tuple[str, ...]:
    """Caption the laws and loss terms, which change training but not the computed values."""
    laws = [f"law {law.text} weight {law.weight:g}" for law in graph.laws]
    if graph.loss_graph is None:
        return tuple(laws)
    nodes = graph.loss_graph.graph.nodes
    ends = [output.value.node for output in graph.loss_graph.graph.outputs]
    terms = zip(ends, graph.loss_graph.weights, strict=True)
    return (*laws, *(f"loss {nodes[end].span.text} weight {weight:g}" for end, weight in terms))
