"""A diagram as PDF or PNG, painted by Graphviz at the coordinates that the SVG has."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

from rnnc.runtime.diagrams.layout.box_sizes import POINT, SMALL, width
from rnnc.runtime.diagrams.layout.graphviz_layout import (
    Direction,
    Frame,
    Layout,
    Route,
    graphviz,
    quiet,
)
from rnnc.runtime.diagrams.layout.place_labels import place_labels
from rnnc.runtime.diagrams.model.diagram import Box, Diagram, Kind, Role
from rnnc.runtime.diagrams.model.labels import plain

from .dot import escape_text, markup, quoted
from .legend import LEGEND_ROW, legend_entries
from .palette import BOXES, EDGES, FAINT, FRAME, FRAME_FILL, INK, MARK
from .svg import coordinates

DOTS: Final = 144
"""Dots an inch of a PNG, two to the point: sharp on dense screens and on slides."""

_DASHES: Final = {"flow": "solid", "past": "dashed", "future": "dotted"}


@dataclass(slots=True)
class _Sheet:
    """A picture as Graphviz is told it: rectangles with texts, and curves, at fixed places."""

    lines: list[str] = field(default_factory=list)
    count: int = 0

    def node(self, frame: Frame, label: str = '""', **attributes: object) -> None:
        """A shape, or a text alone."""
        self.count += 1
        said = ", ".join(f'{key}="{value}"' for key, value in attributes.items())
        self.lines.append(
            f'p{self.count} [pos="{frame.x:.2f},{-frame.y:.2f}", width={frame.width / 72:.4f}, '
            f"height={frame.height / 72:.4f}, label={label}, {said}];"
        )

    def text(self, frame: Frame, label: str, size: float, ink: str) -> None:
        """A text in the middle of a place."""
        self.node(frame, label, shape="none", fontsize=size, fontcolor=ink)

    def words(self, said: str, left: float, y: float) -> None:
        """A line of small text that begins at `left`."""
        wide = width(plain(said), SMALL + 1)
        label = quoted(said + r"\l").replace("\\\\l", "\\l")
        look = {"penwidth": 0, "color": "transparent", "margin": 0}
        frame = Frame(left + wide / 2, y, wide, 14)
        self.node(frame, label, fontsize=SMALL + 1, fontcolor=FAINT, **look)

    def curve(self, kind: Kind, route: Route, *, marked: bool) -> None:
        """A curve, between two ends that cannot be seen."""
        stroke = EDGES[kind]
        points = " ".join(f"{x:.2f},{-y:.2f}" for x, y in route.points)
        for x, y in (route.points[0], route.tip):
            self.node(Frame(x, y, 0.72, 0.72), shape="point", style="invis")
        x, y = route.tip
        self.lines.append(
            f'p{self.count - 1} -> p{self.count} [pos="e,{x:.2f},{-y:.2f} {points}", '
            f'color="{MARK if marked else stroke.line}", style={_DASHES[kind]}, arrowsize=0.6, '
            f"penwidth={3 if marked else stroke.thickness}];"
        )

    def shape(self, role: Role, frame: Frame, *, marked: bool = False) -> None:
        """The outline of a box, filled; a second one inside where values come from later steps."""
        look = BOXES[role]
        whole = role in {"operator", "point"}
        outline: dict[str, Any] = {
            "shape": "ellipse" if whole else "box",
            "style": "rounded,filled" if look.radius and not whole else "filled",
            "fillcolor": look.fill,
            "color": MARK if marked else look.line,
            "penwidth": 3 if marked else look.thickness,
        }
        self.node(frame, **outline)
        if role == "future":
            self.node(replace(frame, width=frame.width - 5, height=frame.height - 5), **outline)


def print_picture(
    diagram: Diagram,
    form: Literal["pdf", "png"],
    direction: Direction = "LR",
    *,
    dots: int = DOTS,
) -> bytes:
    """The bytes of a PDF file, or of a PNG with so many dots an inch.

    Raises:
        RnnError: RNN650, when pygraphviz is not installed.
    """
    layout = coordinates(diagram, direction)
    text = _positioned(diagram, layout)
    with quiet():
        drawing = graphviz().AGraph(string=text)
        data: bytes = drawing.draw(
            format=form, prog="nop2", args=f"-Gdpi={dots}" if form == "png" else ""
        )
    return data


def _positioned(diagram: Diagram, layout: Layout) -> str:
    """Frames first, curves last."""
    labels = place_labels(diagram, layout)
    sheet = _Sheet(
        [
            "digraph {",
            'graph [outputorder=nodesfirst, splines=true, bgcolor="white", pad=0.15];',
            f'node [shape=box, fixedsize=true, fontname="Helvetica", fontcolor="{INK}"];',
        ]
    )
    for cluster in diagram.clusters:
        if cluster.key in layout.clusters:
            look = {"style": "rounded,filled", "color": FRAME, "fillcolor": FRAME_FILL}
            sheet.node(layout.clusters[cluster.key], **look)
            sheet.text(labels.clusters[cluster.key], markup(cluster.label), POINT, INK)
    for box in diagram.boxes:
        _box(box, layout.boxes[box.key], sheet)
    for index, frame in labels.edges.items():
        sheet.text(frame, f"<{escape_text(diagram.edges[index].label)}>", SMALL, FAINT)
    for edge, route in zip(diagram.edges, layout.routes, strict=True):
        sheet.curve(edge.kind, route, marked=edge.marked)
    _below(diagram, layout, sheet)
    return "\n".join([*sheet.lines, "}"])


def _box(box: Box, frame: Frame, sheet: _Sheet) -> None:
    look = BOXES[box.role]
    sheet.shape(box.role, frame, marked=box.marked)
    size = POINT * 1.4 if box.role == "operator" else POINT
    ink = look.line if box.role in {"past", "future"} else INK
    y = frame.y - 6.5 * len(box.notes)
    sheet.text(replace(frame, y=y), markup(box.label), size, ink)
    for index, note in enumerate(box.notes):
        y = frame.y + 6.5 * len(box.notes) + 12.0 * (index + 1 - len(box.notes))
        sheet.text(replace(frame, y=y), markup(note), SMALL, FAINT)


def _below(diagram: Diagram, layout: Layout, sheet: _Sheet) -> None:
    """The legend and the captions."""
    base = layout.height + 22
    rows = 0
    for entry in legend_entries(diagram, layout.width):
        y = base + LEGEND_ROW * entry.row
        rows = max(rows, entry.row + 1)
        if entry.delayed is not None:
            row = [(entry.x + step, y) for step in (0, 8, 15, 22)]
            sheet.curve(entry.delayed, Route(tuple(row), (entry.x + 28, y)), marked=False)
        elif entry.role is not None:
            sheet.shape(entry.role, Frame(entry.x + 14, y, entry.sample, 14))
        sheet.words(entry.name, entry.x + 34, y)
    for index, caption in enumerate(diagram.captions):
        sheet.words(caption, 0, base + LEGEND_ROW * rows + 15 * index)
