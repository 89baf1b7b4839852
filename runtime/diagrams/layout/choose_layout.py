"""Choose the layout of a diagram: rolled up by Graphviz, or unrolled step by step."""

from __future__ import annotations

from rnnc.runtime.diagrams.model.diagram import Diagram
from rnnc.runtime.diagrams.model.size_limits import require_drawable

from .geometry import DiagramLayout, Direction
from .graphviz_layout import compute_layout
from .unrolled_layout import compute_unrolled_layout


def choose_layout(diagram: Diagram, direction: Direction = "LR") -> DiagramLayout:
    """Lay out a diagram; an unrolled one with its steps side by side.

    Raises:
        RnnError: RNN650, when pygraphviz is not installed; RNN653, when it would be too large.
    """
    require_drawable(diagram)
    return compute_unrolled_layout(diagram) if diagram.steps else compute_layout(diagram, direction)
