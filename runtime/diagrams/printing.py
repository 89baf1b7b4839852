"""A diagram as PDF or PNG, painted by Graphviz at the coordinates that the SVG has."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from .diagram import Box, Diagram
from .dot import escape_text, markup, quoted
from .labels import plain
from .layout import Direction, Frame, Layout, Route, graphviz, quiet
from .legend import LEGEND_ROW, legend_entries
from .measure import POINT, SMALL, width
from .palette import BOXES, EDGES, FAINT, FRAME, FRAME_FILL, INK, MARK
from .place_labels import place_labels
from .svg import coordinates

_DASHES = {"flow": "solid", "past": "dashed", "future": "dotted"}


def print_picture(
    diagram: Diagram, form: Literal["pdf", "png"], direction: Direction = "LR"
) -> bytes:
    """The bytes of a PDF or PNG file.

    Raises:
        RnnError: RNN650, when pygraphviz is not installed.
    """
    layout = coordinates(diagram, direction)
    text = _positioned(diagram, layout)
    with quiet():
        drawing = graphviz().AGraph(string=text)
        data: bytes = drawing.draw(
            format=form, prog="nop2", args="-Gdpi=192" if form == "png" else ""
        )
    return data


def _positioned(diagram: Diagram, layout: Layout) -> str:
    """The picture as boxes, texts and curves at fixed places; frames first, curves last."""
    labels = place_labels(diagram, layout)
    lines = [
        "digraph {",
        'graph [outputorder=nodesfirst, splines=true, bgcolor="white", pad=0.15];',
        f'node [shape=box, fixedsize=true, fontname="Helvetica", fontcolor="{INK}"];',
    ]
    number = 0

    def node(frame: Frame, label: str, **attributes: object) -> None:
        nonlocal number
        number += 1
        said = ", ".join(f'{key}="{value}"' for key, value in attributes.items())
        lines.append(
            f'p{number} [pos="{frame.x:.2f},{-frame.y:.2f}", width={frame.width / 72:.4f}, '
            f"height={frame.height / 72:.4f}, label={label}, {said}];"
        )

    for cluster in diagram.clusters:
        if cluster.key in layout.clusters:
            look = {"style": "rounded,filled", "color": FRAME, "fillcolor": FRAME_FILL}
            node(layout.clusters[cluster.key], '""', **look)
            node(labels.clusters[cluster.key], markup(cluster.label), shape="none", fontsize=POINT)
    for box in diagram.boxes:
        _box(box, layout.boxes[box.key], node)
    for index, frame in labels.edges.items():
        text = f"<{escape_text(diagram.edges[index].label)}>"
        node(frame, text, shape="none", fontsize=SMALL, fontcolor=FAINT)
    for edge, route in zip(diagram.edges, layout.routes, strict=True):
        lines.append(_curve(edge.kind, route, number, marked=edge.marked))
        number += 2
    _below(diagram, layout, node, lines)
    lines.append("}")
    return "\n".join(lines)


def _box(box: Box, frame: Frame, node: object) -> None:
    look = BOXES[box.role]
    radius = "rounded,filled" if look.radius else "filled"
    round_shape = look.radius > frame.height / 2
    assert callable(node)
    node(
        frame,
        '""',
        shape="ellipse" if round_shape else "box",
        style="filled" if round_shape else radius,
        fillcolor=look.fill,
        color=MARK if box.marked else look.line,
        penwidth=3 if box.marked else look.thickness,
        peripheries=2 if box.role == "future" else 1,
    )
    size = POINT * 1.4 if box.role == "operator" else POINT
    ink = look.line if box.role in {"past", "future"} else INK
    y = frame.y - 6.5 * len(box.notes)
    node(replace(frame, y=y), markup(box.label), shape="none", fontsize=size, fontcolor=ink)
    for index, note in enumerate(box.notes):
        y = frame.y + 6.5 * len(box.notes) + 12.0 * (index + 1 - len(box.notes))
        node(replace(frame, y=y), markup(note), shape="none", fontsize=SMALL, fontcolor=FAINT)


def _curve(kind: str, route: Route, number: int, *, marked: bool) -> str:
    """Two invisible ends and the curve between them."""
    stroke = EDGES[kind]  # type: ignore[index]
    points = " ".join(f"{x:.2f},{-y:.2f}" for x, y in route.points)
    (ax, ay), (bx, by) = route.points[0], route.tip
    point = 'shape=point, style=invis, width=0.01, height=0.01, label=""'
    return (
        f'p{number + 1} [pos="{ax:.2f},{-ay:.2f}", {point}]; '
        f'p{number + 2} [pos="{bx:.2f},{-by:.2f}", {point}]; '
        f'p{number + 1} -> p{number + 2} [pos="e,{bx:.2f},{-by:.2f} {points}", '
        f'color="{MARK if marked else stroke.line}", style={_DASHES[kind]}, arrowsize=0.6, '
        f"penwidth={3 if marked else stroke.thickness}];"
    )


def _below(diagram: Diagram, layout: Layout, node: object, lines: list[str]) -> None:
    """The legend and the captions."""
    assert callable(node)
    base = layout.height + 22
    rows = 0
    serial = 0
    for entry in legend_entries(diagram, layout.width):
        y = base + LEGEND_ROW * entry.row
        rows = max(rows, entry.row + 1)
        if entry.kind in EDGES:
            route = Route(
                ((entry.x, y), (entry.x + 8, y), (entry.x + 15, y), (entry.x + 22, y)),
                (entry.x + 28, y),
            )
            lines.append(_curve(entry.kind, route, 1_000_000 + serial, marked=False))
            serial += 2
        else:
            look = BOXES[entry.kind]  # type: ignore[index]
            node(
                Frame(entry.x + 14, y, 26 if entry.kind != "point" else 14, 14),
                '""',
                style="rounded,filled" if look.radius else "filled",
                fillcolor=look.fill,
                color=look.line,
                penwidth=look.thickness,
            )
        _words(entry.name, entry.x + 34, y, entry.right - entry.x - 30, node)
    for index, caption in enumerate(diagram.captions):
        y = base + LEGEND_ROW * rows + 15 * index
        _words(caption, 0, y, width(plain(caption), SMALL + 1), node)


def _words(text: str, x: float, y: float, wide: float, node: object) -> None:
    assert callable(node)
    label = quoted(text + r"\l").replace("\\\\l", "\\l")
    node(Frame(x + wide / 2, y, wide, 14), label, shape="none", fontsize=SMALL + 1, fontcolor=FAINT)
