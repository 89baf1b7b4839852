"""Build a model's diagram for a view: level, unrolled steps, details, highlighted measure."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Final

from rnnc.operators.graph.operator_graph import OperatorGraph
from rnnc.runtime.diagrams.model.annotations import Detail, annotate
from rnnc.runtime.diagrams.model.depth_paths import highlight_measure
from rnnc.runtime.diagrams.model.diagram import Diagram, Level
from rnnc.runtime.diagrams.model.size_limits import MAX_PASSING_LINES, measure_drawing
from rnnc.runtime.diagrams.model.unroll import unroll

from .layer_level import folded_diagram, layer_diagram, operator_diagram
from .plan_level import plan_diagram
from .primitive_level import primitive_diagram

_BUILDERS: Final = {
    "operator": operator_diagram,
    "layer": layer_diagram,
    "primitive": primitive_diagram,
    "plan": plan_diagram,
}


@dataclass(frozen=True, slots=True)
class DiagramView:
    """A level, steps side by side (0: rolled up), details, and a measure to highlight.

    `measure` is one of `paths.MEASURES`.
    """

    level: Level = "layer"
    steps: int = 0
    details: tuple[Detail, ...] = ("shapes",)
    measure: str | None = None

    def with_steps(self, steps: int) -> DiagramView:
        """Return a copy with another number of steps."""
        return replace(self, steps=steps)


def build_diagram(
    graph: OperatorGraph, view: DiagramView, *, folded: Collection[int] | None = None
) -> Diagram:
    """Build the diagram of a model; fold one that is too large to read, with a caption.

    `folded` are the applications to fold where that is not all (operator level) or none (layer).
    """
    builder = _BUILDERS[view.level]
    diagram = builder(graph) if folded is None else folded_diagram(graph, folded, view.level)
    size = measure_drawing(diagram)
    if not size.fits(max(view.steps, 1)) and view.level != "operator":
        small = operator_diagram(graph)
        note = f"folded to operators: the {view.level} level has {size.boxes:,} boxes"
        if size.passing_lines > MAX_PASSING_LINES:
            note += f", and lines pass by a row {size.passing_lines:,} times"
        if len(small.boxes) < len(diagram.boxes):
            diagram = replace(small, captions=(note, *small.captions))
    if view.measure is not None:
        diagram = highlight_measure(diagram, graph, view.measure)
    diagram = annotate(diagram, graph, view.details)
    return unroll(diagram, view.steps) if view.steps else diagram
