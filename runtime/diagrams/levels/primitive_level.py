"""The primitive level: the operator graph itself, one box a node, one arrow an operand."""

from __future__ import annotations

from rnnc.operators.graph.operator_graph import Node, OperatorGraph
from rnnc.operators.semantics.primitives import ARITHMETIC
from rnnc.runtime.diagrams.model.diagram import Box, Diagram, Role
from rnnc.runtime.diagrams.model.labels import Label, name, plain

from .clusters import cluster_key, clusters_of
from .contract import Link, contract, output_links
from .functions import SYMBOLS, function_label, parameter_details, value_details
from .variables import node_key, place, variable_boxes


def primitive_diagram(graph: OperatorGraph) -> Diagram:
    """Every node and every operand, parameters and laws too."""
    boxes = variable_boxes(graph)
    group_of: dict[int, str] = {}
    links: list[Link] = []
    for node in graph.nodes:
        group_of[node.number] = node_key(node.number)
        if node.operation not in {"input", "state"}:
            boxes.append(_box(graph, node))
    for node in graph.nodes:
        for operand in node.operands:
            flow = (operand.node, node.number, operand.delay)
            links.append((group_of[operand.node], group_of[node.number], flow))
    links += output_links(graph, group_of)
    for index, law in enumerate(graph.laws):
        key = f"law{index}"
        boxes.append(
            Box(
                key,
                "law",
                plain("≈"),
                (plain(f"weight {law.weight:g}"),),
                details=(("law", law.text),),
                place=place(law.span),
            )
        )
        for side in (law.left, law.right):
            links.append((group_of[side.node], key, (side.node, -1, side.delay)))
    return contract(graph, "primitive", boxes, clusters_of(graph), links, merge=False)


def _box(graph: OperatorGraph, node: Node) -> Box:
    role: Role = "unit"
    label: Label = function_label(node)
    notes: tuple[Label, ...] = ()
    details = value_details(graph, node)
    if node.operation == "parameter":
        parameter = graph.by_parameter[str(node.attributes[0])]
        role = "value"
        label = name(parameter.name.rpartition(".")[2])
        notes = (plain(" × ".join(map(str, parameter.shape))),)
        details = (*parameter_details(parameter), *details)
    elif node.operation == "constant":
        role = "value"
        label = plain(f"{node.attributes[0]:.4g}")
    elif node.operation in {"matmul", "lookup"}:
        role = "map"
    elif node.operation in ARITHMETIC or node.operation in SYMBOLS:
        role = "point"
    return Box(
        node_key(node.number),
        role,
        label,
        notes,
        cluster_key(node.application),
        (node.number,),
        (str(node.attributes[0]),) if node.operation == "parameter" else (),
        details=details,
        place=place(node.span),
    )
