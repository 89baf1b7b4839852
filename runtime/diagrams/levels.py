"""A model -> its diagram at a level, unrolled, with details and paths as wanted."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Final

from ...operators.graph import OperatorGraph
from .diagram import Diagram, Level
from .layer_level import layer_diagram, operator_diagram
from .paths import highlight
from .plan_level import plan_diagram
from .primitive_level import primitive_diagram
from .show import Detail, show
from .unroll import unroll

MOST_BOXES: Final = 1500
"""Boxes of the largest diagram that is drawn as asked; a larger one is folded to operators."""

USUAL: Final[tuple[Detail, ...]] = ("shapes",)
_MAKERS: Final = {
    "operator": operator_diagram,
    "layer": layer_diagram,
    "primitive": primitive_diagram,
    "plan": plan_diagram,
}


def diagram_of(
    graph: OperatorGraph,
    level: Level = "layer",
    *,
    steps: int = 0,
    details: Collection[Detail] = USUAL,
    measure: str | None = None,
) -> Diagram:
    """The diagram of a model; one that is too large to read is folded, and says so.

    `steps` unrolls it, 0 leaves it rolled up; `measure` is one of `paths.MEASURES`.
    """
    diagram = _MAKERS[level](graph)
    if len(diagram.boxes) * max(steps, 1) > MOST_BOXES and level != "operator":
        folded = operator_diagram(graph)
        note = f"folded to operators: the {level} level has {len(diagram.boxes):,} boxes"
        if len(folded.boxes) < len(diagram.boxes):
            diagram = replace(folded, captions=(note, *folded.captions))
    if measure is not None:
        diagram = highlight(diagram, graph, measure)
    diagram = show(diagram, graph, details)
    return unroll(diagram, steps) if steps else diagram
