"""Annotate a diagram: widths on edges, sizes of weights, depths in the caption."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from fractions import Fraction
from typing import Final, Literal

from rnnc.operators.analysis.depth import measure_depth
from rnnc.operators.graph.operator_graph import OperatorGraph

from .diagram import Box, Diagram, Edge
from .labels import Label, plain_label

Detail = Literal["shapes", "params", "depth"]
DETAILS: Final[tuple[Detail, ...]] = ("shapes", "params", "depth")


def annotate(diagram: Diagram, graph: OperatorGraph, details: Collection[Detail]) -> Diagram:
    """Add details to a diagram; `shapes` are widths and shapes, `params` counts."""
    boxes = tuple(_box(box, graph, details) for box in diagram.boxes)
    edges = diagram.edges
    if "shapes" in details:
        edges = _label_widths(diagram, graph)
    captions = diagram.captions
    if "depth" in details:
        captions = (*captions, *format_depths(graph))
    return replace(diagram, boxes=boxes, edges=edges, captions=captions)


def format_depths(graph: OperatorGraph) -> tuple[str, ...]:
    """Format the depth measures as two lines."""
    depths = measure_depth(graph)
    skip = "∞" if depths.skip_coefficient is None else _format_fraction(depths.skip_coefficient)
    return (
        f"depth: input to hidden {depths.input_to_hidden}, hidden to hidden "
        f"{depths.hidden_to_hidden}, hidden to output {depths.hidden_to_output}",
        f"recurrent depth {_format_fraction(depths.recurrent_depth)}, feedforward depth "
        f"{_format_fraction(depths.feedforward_depth)}, skip coefficient {skip}",
    )


def _format_fraction(value: Fraction) -> str:
    return str(value.numerator) if value.denominator == 1 else f"{float(value):.4g}"


def _box(box: Box, graph: OperatorGraph, details: Collection[Detail]) -> Box:
    if box.role in {"unit", "point", "law", "past", "future"}:
        return box
    notes: tuple[Label, ...] = box.notes if "shapes" in details else ()
    if box.role == "operator":
        notes = box.notes if "params" in details else ()
    elif box.role in {"map", "value"} and "params" in details:
        count = sum(
            parameter.numel
            for name in box.parameters
            for parameter in (graph.parameters_by_name[name],)
        )
        notes = (*notes, plain_label(f"{count:,}")) if count else notes
    elif box.role == "output" and not notes:
        notes = tuple(note for note in box.notes if note == plain_label("at end"))
    return replace(box, notes=notes)


def _label_widths(diagram: Diagram, graph: OperatorGraph) -> tuple[Edge, ...]:
    """Label each value's first edge with its width, unless its box shows it."""
    roles = {box.key: box.role for box in diagram.boxes}
    labeled: set[tuple[str, int]] = set()
    edges: list[Edge] = []
    for edge in diagram.edges:
        label = ""
        source = edge.members[0][0] if edge.members else -1
        unlabeled_roles = {"input", "state", "map", "past", "future", "value"}
        if (
            source >= 0
            and roles[edge.source] not in unlabeled_roles
            and (edge.source, source) not in labeled
        ):
            labeled.add((edge.source, source))
            if roles[edge.target] not in {"state", "output"}:
                label = f"{graph.nodes[source].size:,}"
        edges.append(replace(edge, label=label))
    return tuple(edges)
