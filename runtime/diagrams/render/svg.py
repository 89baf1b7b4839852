"""Render a diagram as SVG from its layout: no script, no font file, no external reference."""

from __future__ import annotations

import math
from html import escape

from rnnc.runtime.diagrams.layout.box_sizes import LABEL_SIZE, NOTE_SIZE
from rnnc.runtime.diagrams.layout.choose_layout import choose_layout
from rnnc.runtime.diagrams.layout.geometry import DiagramLayout, Direction, EdgeRoute, Point, Rect
from rnnc.runtime.diagrams.layout.place_labels import place_labels
from rnnc.runtime.diagrams.model.diagram import Box, Cluster, Diagram, Edge
from rnnc.runtime.diagrams.model.labels import Label, replace_invisible, to_text

from .legend import LEGEND_ROW, LegendEntry, layout_legend
from .palette import (
    BOX_STYLES,
    EDGE_STYLES,
    FRAME_COLOR,
    FRAME_FILL_COLOR,
    HIGHLIGHT_COLOR,
    MUTED_COLOR,
    TEXT_COLOR,
)

MARGIN = 14.0
SANS_FONTS = "'Helvetica Neue',Helvetica,Arial,'Liberation Sans','DejaVu Sans',sans-serif"

SERIF_FONTS = "'Times New Roman',Times,'Liberation Serif','DejaVu Serif',serif"


def to_svg(diagram: Diagram, direction: Direction = "LR", *, legend: bool = True) -> str:
    """Render the whole picture as one SVG document.

    Raises:
        RnnError: RNN650 or RNN653, as `coordinates` does.
    """
    return draw_svg(diagram, choose_layout(diagram, direction), legend=legend)


def draw_svg(diagram: Diagram, layout: DiagramLayout, *, legend: bool = True) -> str:
    """Render a diagram at known coordinates."""
    entries = layout_legend(diagram, layout.width) if legend else []
    captions = [c for c in diagram.captions if legend]
    width = max([layout.width, *(e.right for e in entries), *(len(c) * 6.0 for c in captions)])
    rows = 1 + max((entry.row for entry in entries), default=-1)
    height = layout.height + LEGEND_ROW * rows + 15.0 * len(captions) + (12 if rows else 0)
    title = f"{diagram.name}, {diagram.level} level"
    left, total_width, total_height = -MARGIN, width + 2 * MARGIN, height + 2 * MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_coord(total_width)}" '
        f'height="{_coord(total_height)}" viewBox="{_coord(left)} {_coord(-MARGIN)} '
        f'{_coord(total_width)} {_coord(total_height)}" role="img" '
        f'aria-label="{_escape_attribute(title)}" '
        f'font-family="{SANS_FONTS}" font-size="{_coord(LABEL_SIZE)}">',
        f"<title>{_escape_text(title)}</title>",
        f"<style>{style_sheet()}</style>",
        f'<rect class="paper" x="{_coord(left)}" y="{_coord(-MARGIN)}" '
        f'width="{_coord(total_width)}" height="{_coord(total_height)}"/>',
        '<g class="drawing">',
    ]
    labels = place_labels(diagram, layout)
    parts += [
        _cluster(c, layout.clusters[c.key], labels.clusters[c.key])
        for c in diagram.clusters
        if c.key in layout.clusters
    ]
    parts += [_edge(e, r) for e, r in zip(diagram.edges, layout.routes, strict=True)]
    parts += [_box(box, layout.boxes[box.key]) for box in diagram.boxes]
    parts += [_size(diagram.edges[i].label, frame) for i, frame in labels.edges.items()]
    parts.append("</g>")
    base = layout.height + 12
    if entries:
        parts.append('<g class="legend">')
        for entry in entries:
            parts.append(_legend(entry, base + LEGEND_ROW * entry.row))
        parts.append("</g>")
    for index, caption in enumerate(captions):
        y = base + LEGEND_ROW * rows + 15 * index + 11
        parts.append(_line("note", 0, y, NOTE_SIZE + 1, _escape_text(caption)))
    parts.append("</svg>")
    return "\n".join(parts) + "\n"


def style_sheet() -> str:
    """Write the style sheet of the light theme."""
    rules = [
        ".paper{fill:#fff}",
        f"text{{fill:{TEXT_COLOR};text-anchor:middle}}",
        f".note,.size{{fill:{MUTED_COLOR}}}",
        ".note{text-anchor:start}",
        f".i{{font-style:italic;font-family:{SERIF_FONTS};font-size:112%}}",
        f".cluster rect{{fill:{FRAME_FILL_COLOR};stroke:{FRAME_COLOR};stroke-width:1}}",
        ".cluster text{font-weight:600}",
        ".edge path{fill:none}",
        ".edge .halo{stroke:none}",
    ]
    for role, style in BOX_STYLES.items():
        rules.append(
            f".{role}>rect{{fill:{style.fill};stroke:{style.line};stroke-width:{_coord(style.thickness)}}}"
        )
    for kind, stroke in EDGE_STYLES.items():
        dashes = f";stroke-dasharray:{stroke.dashes}" if stroke.dashes else ""
        rules.append(
            f".{kind}>.line{{stroke:{stroke.line};stroke-width:{_coord(stroke.thickness)}{dashes}}}"
        )
        rules.append(f".{kind}>.tip{{fill:{stroke.line}}}")
    rules.append(
        f".marked>.line{{stroke:{HIGHLIGHT_COLOR};stroke-width:3.2}}.marked>.tip{{fill:{HIGHLIGHT_COLOR}}}"
    )
    rules.append(f".marked>rect{{stroke:{HIGHLIGHT_COLOR};stroke-width:3}}")
    rules.append(
        f".past>text{{fill:{BOX_STYLES['past'].line}}}.future>text{{fill:{BOX_STYLES['future'].line}}}"
    )
    return "".join(rules)


def _cluster(cluster: Cluster, rect: Rect, label: Rect) -> str:
    return (
        f'<g class="cluster" id="{cluster.key}">{_rect(rect, 8)}'
        f'<text x="{_coord(label.x)}" y="{_coord(label.y + 4.5)}">'
        f"{_text_spans(cluster.label)}</text></g>"
    )


def _box(box: Box, rect: Rect) -> str:
    style = BOX_STYLES[box.role]
    radius = min(style.radius, rect.height / 2)
    marked = " marked" if box.highlighted else ""
    text = _escape_text(to_text(box.label))
    parts = [f'<g class="box {box.role}{marked}" id="{box.key}"><title>{text}</title>']
    parts.append(_rect(rect, radius))
    if box.role == "future":  # a second outline, distinct in gray print too
        inner = Rect(rect.x, rect.y, rect.width - 5, rect.height - 5)
        parts.append(_rect(inner, 0))
    size = LABEL_SIZE * 1.5 if box.role == "operator" else LABEL_SIZE
    step = 12.0
    lines = len(box.notes)
    y = rect.y + size * 0.36 - lines * step / 2
    parts.append(_line("name", rect.x, y, size, _text_spans(box.label)))
    for index, note in enumerate(box.notes):
        y += step if index or size == LABEL_SIZE else step + 2
        parts.append(_line("size", rect.x, y, NOTE_SIZE, _text_spans(note)))
    parts.append("</g>")
    return "".join(parts)


def _line(kind: str, x: float, y: float, size: float, text: str) -> str:
    place = f'x="{_coord(x)}" y="{_coord(y)}" font-size="{_coord(size)}"'
    return f'<text class="{kind}" {place}>{text}</text>'


def _rect(rect: Rect, radius: float) -> str:
    rounded = f' rx="{_coord(radius)}"' if radius else ""
    return (
        f'<rect x="{_coord(rect.left)}" y="{_coord(rect.top)}" width="{_coord(rect.width)}" '
        f'height="{_coord(rect.height)}"{rounded}/>'
    )


def _edge(edge: Edge, route: EdgeRoute) -> str:
    marked = " marked" if edge.highlighted else ""
    return (
        f'<g class="edge {edge.kind}{marked}" data-from="{edge.source}" data-to="{edge.target}">'
        f'<path class="line" d="{path_data(route)}"/>{_arrow_head(route)}</g>'
    )


def path_data(route: EdgeRoute) -> str:
    """Convert a curve to SVG path data."""
    first, *others = route.points
    return f"M{_coord(first[0])},{_coord(first[1])}C" + " ".join(
        f"{_coord(x)},{_coord(y)}" for x, y in others
    )


def _arrow_head(route: EdgeRoute) -> str:
    (x, y), end = route.tip, route.points[-1]
    angle = math.atan2(y - end[1], x - end[0])
    if math.dist(route.tip, end) < 1e-6:
        before = route.points[-2]
        angle = math.atan2(end[1] - before[1], end[0] - before[0])
    corners: list[Point] = [(x, y)]
    for turn in (2.72, -2.72):
        corners.append((x + 7.5 * math.cos(angle + turn), y + 7.5 * math.sin(angle + turn)))
    listed = " ".join(f"{_coord(a)},{_coord(b)}" for a, b in corners)
    return f'<polygon class="tip" points="{listed}"/>'


def _size(text: str, frame: Rect) -> str:
    return _line("size", frame.x, frame.y + 3.3, NOTE_SIZE, _escape_text(text))


def _legend(entry: LegendEntry, y: float) -> str:
    x = entry.x
    sample = ""
    if entry.edge_kind is not None:
        row = [(x + step, y + 8) for step in (0, 8, 15, 22)]
        sample = _edge(Edge("", "", 0, entry.edge_kind), EdgeRoute(tuple(row), (x + 28, y + 8)))
    elif entry.role is not None:
        outline = _rect(
            Rect(x + 14, y + 8, entry.sample_width, 14), min(BOX_STYLES[entry.role].radius, 7)
        )
        sample = f'<g class="{entry.role}">{outline}</g>'
    return sample + _line("note", x + 34, y + 11, NOTE_SIZE + 1, _escape_text(entry.name))


def _text_spans(label: Label) -> str:
    parts: list[str] = []
    current_offset = 0.0
    for run in label:
        offset = {"below": 3.2, "time": 3.2, "above": -4.5}.get(run.style, 0.0)
        attribute = f' dy="{_coord(offset - current_offset)}"' if offset != current_offset else ""
        current_offset = offset
        text = _escape_text(run.text)
        if run.style == "italic":
            parts.append(f'<tspan class="i"{attribute}>{text}</tspan>')
        elif run.style != "plain":
            parts.append(f'<tspan font-size="72%"{attribute}>{text}</tspan>')
        else:
            parts.append(f"<tspan{attribute}>{text}</tspan>" if attribute else text)
    return "".join(parts)


def _coord(number: float) -> str:
    return f"{number:.1f}".removesuffix(".0")


def _escape_text(text: str) -> str:
    """Escape text for XML."""
    return escape(
        replace_invisible(text).replace("\ufffe", "�").replace("\uffff", "�"), quote=False
    )


def _escape_attribute(text: str) -> str:
    return escape(replace_invisible(text))
