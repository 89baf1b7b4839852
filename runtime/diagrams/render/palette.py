"""Colors and line styles, safe for color blindness and distinct in gray print.

Hues are those of Okabe and Ito (2008); lightness, outline and shape tell the roles apart too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from rnnc.runtime.diagrams.model.diagram import BoxRole, EdgeKind


@dataclass(frozen=True, slots=True)
class BoxStyle:
    """Colors and outline of a box, in light and in dark; `radius` rounds its corners."""

    fill: str
    line: str
    dark_fill: str
    dark_line: str
    thickness: float
    radius: float
    meaning: str


BOX_STYLES: Final[dict[BoxRole, BoxStyle]] = {
    "input": BoxStyle("#d9ecf7", "#0072b2", "#0f3a52", "#6cc1f0", 1.2, 12, "input"),
    "state": BoxStyle("#f6cf8a", "#8a5a00", "#5c4008", "#f2b84b", 2.0, 12, "state"),
    "output": BoxStyle("#cdeee1", "#00785a", "#0b4636", "#4fd3ab", 1.2, 12, "output"),
    "operator": BoxStyle("#ffffff", "#222222", "#2b2f36", "#e6e6e6", 1.8, 99, "operator"),
    "map": BoxStyle("#ffffff", "#333333", "#22262c", "#c9ced6", 1.0, 0, "weight"),
    "unit": BoxStyle("#eceff2", "#333333", "#363c45", "#c9ced6", 1.0, 6, "function"),
    "point": BoxStyle("#ffffff", "#333333", "#22262c", "#c9ced6", 1.0, 99, "elementwise"),
    "value": BoxStyle("#ffffff", "#888888", "#22262c", "#9aa0a8", 0.8, 0, "parameter, constant"),
    "law": BoxStyle("#f7e6f0", "#a0457d", "#4a2039", "#e79cc7", 1.2, 6, "law"),
    "past": BoxStyle("#ffffff", "#c04a00", "#2b1a10", "#ff9a5c", 1.4, 0, "kept for later steps"),
    "future": BoxStyle(
        "#ffffff", "#7b2d8e", "#26122b", "#d79be6", 1.4, 0, "taken from later steps"
    ),
}


@dataclass(frozen=True, slots=True)
class EdgeStyle:
    """Color, dashes and thickness of an edge."""

    line: str
    dark: str
    dashes: str
    thickness: float


EDGE_STYLES: Final[dict[EdgeKind, EdgeStyle]] = {
    "flow": EdgeStyle("#444444", "#b9bfc8", "", 1.1),
    "past": EdgeStyle("#c04a00", "#ff9a5c", "6 3", 1.5),
    "future": EdgeStyle("#7b2d8e", "#d79be6", "1.5 3", 1.9),
}
HIGHLIGHT_COLOR: Final = "#005fa8"
DARK_HIGHLIGHT_COLOR: Final = "#7cc7ff"
FRAME_COLOR: Final = "#7a8088"
FRAME_FILL_COLOR: Final = "#fbfbf9"
TEXT_COLOR: Final = "#1b1b1b"
MUTED_COLOR: Final = "#5c6066"
