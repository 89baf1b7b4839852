"""Colours and line styles: safe for colour blindness, and apart from each other in grey print.

Hues are those of Okabe and Ito (2008); lightness, outline and shape tell the roles apart too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from rnnc.runtime.diagrams.model.diagram import Kind, Role


@dataclass(frozen=True, slots=True)
class Look:
    """How a box is drawn, in light and in dark; `radius` rounds its corners."""

    fill: str
    line: str
    dark_fill: str
    dark_line: str
    thickness: float
    radius: float
    meaning: str


BOXES: Final[dict[Role, Look]] = {
    "input": Look("#d9ecf7", "#0072b2", "#0f3a52", "#6cc1f0", 1.2, 12, "input"),
    "state": Look("#f6cf8a", "#8a5a00", "#5c4008", "#f2b84b", 2.0, 12, "state"),
    "output": Look("#cdeee1", "#00785a", "#0b4636", "#4fd3ab", 1.2, 12, "output"),
    "operator": Look("#ffffff", "#222222", "#2b2f36", "#e6e6e6", 1.8, 99, "operator"),
    "map": Look("#ffffff", "#333333", "#22262c", "#c9ced6", 1.0, 0, "weight"),
    "unit": Look("#eceff2", "#333333", "#363c45", "#c9ced6", 1.0, 6, "function"),
    "point": Look("#ffffff", "#333333", "#22262c", "#c9ced6", 1.0, 99, "elementwise"),
    "value": Look("#ffffff", "#888888", "#22262c", "#9aa0a8", 0.8, 0, "parameter, constant"),
    "law": Look("#f7e6f0", "#a0457d", "#4a2039", "#e79cc7", 1.2, 6, "law"),
    "past": Look("#ffffff", "#c04a00", "#2b1a10", "#ff9a5c", 1.4, 0, "kept for later steps"),
    "future": Look("#ffffff", "#7b2d8e", "#26122b", "#d79be6", 1.4, 0, "taken from later steps"),
}


@dataclass(frozen=True, slots=True)
class Stroke:
    """How an edge is drawn."""

    line: str
    dark: str
    dashes: str
    thickness: float


EDGES: Final[dict[Kind, Stroke]] = {
    "flow": Stroke("#444444", "#b9bfc8", "", 1.1),
    "past": Stroke("#c04a00", "#ff9a5c", "6 3", 1.5),
    "future": Stroke("#7b2d8e", "#d79be6", "1.5 3", 1.9),
}
MARK: Final = "#005fa8"
DARK_MARK: Final = "#7cc7ff"
FRAME: Final = "#7a8088"
FRAME_FILL: Final = "#fbfbf9"
INK: Final = "#1b1b1b"
FAINT: Final = "#5c6066"
