"""Render a diagram as PDF or PNG: Graphviz paints it at the coordinates of the SVG."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

from rnnc.runtime.diagrams.layout.box_sizes import LABEL_SIZE, NOTE_SIZE, label_width
from rnnc.runtime.diagrams.layout.choose_layout import choose_layout
from rnnc.runtime.diagrams.layout.geometry import DiagramLayout, Direction, EdgeRoute, Rect
from rnnc.runtime.diagrams.layout.graphviz_layout import import_pygraphviz, silence_stderr
from rnnc.runtime.diagrams.layout.place_labels import place_labels
from rnnc.runtime.diagrams.model.diagram import Box, BoxRole, Diagram, EdgeKind
from rnnc.runtime.diagrams.model.labels import plain_label

from .dot import escape_text, html_label, quote
from .legend import LEGEND_ROW, layout_legend
from .palette import (
    BOX_STYLES,
    EDGE_STYLES,
    FRAME_COLOR,
    FRAME_FILL_COLOR,
    HIGHLIGHT_COLOR,
    MUTED_COLOR,
    TEXT_COLOR,
)

PNG_DPI: Final = 144
"""Two dots to the point: sharp on dense screens and on slides."""

_DASHES: Final = {"flow": "solid", "past": "dashed", "future": "dotted"}


@dataclass(slots=True)
class _PositionedGraph:
    """DOT lines of a picture: rectangles with texts, and curves, at fixed positions."""

    lines: list[str] = field(default_factory=list)
    count: int = 0

    def node(self, rect: Rect, label: str = '""', **attributes: object) -> None:
        """Add a shape, or a text alone."""
        self.count += 1
        options = ", ".join(f'{key}="{value}"' for key, value in attributes.items())
        self.lines.append(
            f'p{self.count} [pos="{rect.x:.2f},{-rect.y:.2f}", width={rect.width / 72:.4f}, '
            f"height={rect.height / 72:.4f}, label={label}, {options}];"
        )

    def text(self, rect: Rect, label: str, size: float, ink: str) -> None:
        """Add a text in the middle of a rectangle."""
        self.node(rect, label, shape="none", fontsize=size, fontcolor=ink)

    def words(self, text: str, left: float, y: float) -> None:
        """Add a line of small text that starts at `left`."""
        text_width = label_width(plain_label(text), NOTE_SIZE + 1)
        label = quote(text + r"\l").replace("\\\\l", "\\l")
        options = {"penwidth": 0, "color": "transparent", "margin": 0}
        rect = Rect(left + text_width / 2, y, text_width, 14)
        self.node(rect, label, fontsize=NOTE_SIZE + 1, fontcolor=MUTED_COLOR, **options)

    def curve(self, kind: EdgeKind, route: EdgeRoute, *, marked: bool) -> None:
        """Add a curve between two invisible end points."""
        stroke = EDGE_STYLES[kind]
        points = " ".join(f"{x:.2f},{-y:.2f}" for x, y in route.points)
        for x, y in (route.points[0], route.tip):
            self.node(Rect(x, y, 0.72, 0.72), shape="point", style="invis")
        x, y = route.tip
        self.lines.append(
            f'p{self.count - 1} -> p{self.count} [pos="e,{x:.2f},{-y:.2f} {points}", '
            f'color="{HIGHLIGHT_COLOR if marked else stroke.line}", style={_DASHES[kind]}, '
            f"arrowsize=0.6, penwidth={3 if marked else stroke.thickness}];"
        )

    def shape(self, role: BoxRole, rect: Rect, *, marked: bool = False) -> None:
        """Add the filled outline of a box; a second one inside for values of later steps."""
        style = BOX_STYLES[role]
        is_ellipse = role in {"operator", "point"}
        outline: dict[str, Any] = {
            "shape": "ellipse" if is_ellipse else "box",
            "style": "rounded,filled" if style.radius and not is_ellipse else "filled",
            "fillcolor": style.fill,
            "color": HIGHLIGHT_COLOR if marked else style.line,
            "penwidth": 3 if marked else style.thickness,
        }
        self.node(rect, **outline)
        if role == "future":
            self.node(replace(rect, width=rect.width - 5, height=rect.height - 5), **outline)


def to_pdf_or_png(
    diagram: Diagram,
    format_name: Literal["pdf", "png"],
    direction: Direction = "LR",
    *,
    dpi: int = PNG_DPI,
) -> bytes:
    """Return the bytes of a PDF file, or of a PNG at a resolution.

    Raises:
        RnnError: RNN650, when pygraphviz is not installed.
    """
    layout = choose_layout(diagram, direction)
    text = _to_positioned_dot(diagram, layout)
    with silence_stderr():
        drawing = import_pygraphviz().AGraph(string=text)
        data: bytes = drawing.draw(
            format=format_name, prog="nop2", args=f"-Gdpi={dpi}" if format_name == "png" else ""
        )
    return data


def _to_positioned_dot(diagram: Diagram, layout: DiagramLayout) -> str:
    """Write the DOT text: frames first, curves last."""
    labels = place_labels(diagram, layout)
    picture = _PositionedGraph(
        [
            "digraph {",
            'graph [outputorder=nodesfirst, splines=true, bgcolor="white", pad=0.15];',
            f'node [shape=box, fixedsize=true, fontname="Helvetica", fontcolor="{TEXT_COLOR}"];',
        ]
    )
    for cluster in diagram.clusters:
        if cluster.key in layout.clusters:
            style = {"style": "rounded,filled", "color": FRAME_COLOR, "fillcolor": FRAME_FILL_COLOR}
            picture.node(layout.clusters[cluster.key], **style)
            picture.text(
                labels.clusters[cluster.key], html_label(cluster.label), LABEL_SIZE, TEXT_COLOR
            )
    for box in diagram.boxes:
        _box(box, layout.boxes[box.key], picture)
    for index, rect in labels.edges.items():
        picture.text(rect, f"<{escape_text(diagram.edges[index].label)}>", NOTE_SIZE, MUTED_COLOR)
    for edge, route in zip(diagram.edges, layout.routes, strict=True):
        picture.curve(edge.kind, route, marked=edge.highlighted)
    _draw_legend(diagram, layout, picture)
    return "\n".join([*picture.lines, "}"])


def _box(box: Box, rect: Rect, picture: _PositionedGraph) -> None:
    style = BOX_STYLES[box.role]
    picture.shape(box.role, rect, marked=box.highlighted)
    size = LABEL_SIZE * 1.4 if box.role == "operator" else LABEL_SIZE
    ink = style.line if box.role in {"past", "future"} else TEXT_COLOR
    y = rect.y - 6.5 * len(box.notes)
    picture.text(replace(rect, y=y), html_label(box.label), size, ink)
    for index, note in enumerate(box.notes):
        y = rect.y + 6.5 * len(box.notes) + 12.0 * (index + 1 - len(box.notes))
        picture.text(replace(rect, y=y), html_label(note), NOTE_SIZE, MUTED_COLOR)


def _draw_legend(diagram: Diagram, layout: DiagramLayout, picture: _PositionedGraph) -> None:
    """Add the legend and the captions."""
    base = layout.height + 22
    rows = 0
    for entry in layout_legend(diagram, layout.width):
        y = base + LEGEND_ROW * entry.row
        rows = max(rows, entry.row + 1)
        if entry.edge_kind is not None:
            row = [(entry.x + step, y) for step in (0, 8, 15, 22)]
            picture.curve(entry.edge_kind, EdgeRoute(tuple(row), (entry.x + 28, y)), marked=False)
        elif entry.role is not None:
            picture.shape(entry.role, Rect(entry.x + 14, y, entry.sample_width, 14))
        picture.words(entry.name, entry.x + 34, y)
    for index, caption in enumerate(diagram.captions):
        picture.words(caption, 0, base + LEGEND_ROW * rows + 15 * index)
