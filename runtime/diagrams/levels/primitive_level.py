"""Build the primitive level: one box for each node, one arrow for each operand."""

from __future__ import annotations

from rnnc.operators.graph.operator_graph import Node, OperatorGraph
from rnnc.operators.semantics.primitives import ARITHMETIC_OPS
from rnnc.runtime.diagrams.model.diagram import Box, BoxRole, Diagram
from rnnc.runtime.diagrams.model.labels import Label, name_label, plain_label

from .clusters import build_clusters, cluster_key
from .contract import BoxLink, contract_graph, output_links
from .functions import SYMBOLS, function_label, parameter_details, value_details
from .variables import node_key, source_location, variable_boxes


def primitive_diagram(graph: OperatorGraph) -> Diagram:
    """Build the diagram of all nodes and operands, with parameters and laws."""
    boxes = variable_boxes(graph)
    group_of: dict[int, str] = {}
    links: list[BoxLink] = []
    for node in graph.nodes:
        group_of[node.id] = node_key(node.id)
        if node.operation not in {"input", "state"}:
            boxes.append(_box(graph, node))
    for node in graph.nodes:
        for operand in node.operands:
            edge = (operand.node, node.id, operand.delay)
            links.append((group_of[operand.node], group_of[node.id], edge))
    links += output_links(graph, group_of)
    for index, law in enumerate(graph.laws):
        key = f"law{index}"
        boxes.append(
            Box(
                key,
                "law",
                plain_label("≈"),
                (plain_label(f"weight {law.weight:g}"),),
                details=(("law", law.text),),
                location=source_location(law.span),
            )
        )
        for side in (law.left, law.right):
            links.append((group_of[side.node], key, (side.node, -1, side.delay)))
    return contract_graph(graph, "primitive", boxes, build_clusters(graph), links, merge=False)


def _box(graph: OperatorGraph, node: Node) -> Box:
    role: BoxRole = "unit"
    label: Label = function_label(node)
    notes: tuple[Label, ...] = ()
    details = value_details(graph, node)
    if node.operation == "parameter":
        parameter = graph.parameters_by_name[str(node.attributes[0])]
        role = "value"
        label = name_label(parameter.name.rpartition(".")[2])
        notes = (plain_label(" × ".join(map(str, parameter.shape))),)
        details = (*parameter_details(parameter), *details)
    elif node.operation == "constant":
        role = "value"
        label = plain_label(f"{node.attributes[0]:.4g}")
    elif node.operation in {"matmul", "lookup"}:
        role = "map"
    elif node.operation in ARITHMETIC_OPS or node.operation in SYMBOLS:
        role = "point"
    return Box(
        node_key(node.id),
        role,
        label,
        notes,
        cluster_key(node.application),
        (node.id,),
        (str(node.attributes[0]),) if node.operation == "parameter" else (),
        details=details,
        location=source_location(node.span),
    )
