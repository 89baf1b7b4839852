"""A diagram as SVG, drawn from its layout's coordinates: no script, no font, no reference."""

from __future__ import annotations

import math
from html import escape

from rnnc.runtime.diagrams.layout.box_sizes import POINT, SMALL
from rnnc.runtime.diagrams.layout.graphviz_layout import (
    Direction,
    Frame,
    Layout,
    Point,
    Route,
    lay_out,
)
from rnnc.runtime.diagrams.layout.place_labels import place_labels
from rnnc.runtime.diagrams.layout.unrolled_layout import lay_out_steps
from rnnc.runtime.diagrams.model.diagram import Box, Cluster, Diagram, Edge
from rnnc.runtime.diagrams.model.labels import Label, to_text, visible
from rnnc.runtime.diagrams.model.size_limits import demand_drawable

from .legend import LEGEND_ROW, Entry, legend_entries
from .palette import BOXES, EDGES, FAINT, FRAME, FRAME_FILL, INK, MARK

MARGIN = 14.0
FONTS = "'Helvetica Neue',Helvetica,Arial,'Liberation Sans','DejaVu Sans',sans-serif"

SERIFS = "'Times New Roman',Times,'Liberation Serif','DejaVu Serif',serif"


def svg(diagram: Diagram, direction: Direction = "LR", *, legend: bool = True) -> str:
    """The whole picture as one SVG document.

    Raises:
        RnnError: RNN650 or RNN653, as `coordinates` does.
    """
    return draw(diagram, coordinates(diagram, direction), legend=legend)


def coordinates(diagram: Diagram, direction: Direction = "LR") -> Layout:
    """Where everything goes, steps side by side in an unrolled diagram.

    Raises:
        RnnError: RNN650, when pygraphviz is not installed; RNN653, when it would be too large.
    """
    demand_drawable(diagram)
    return lay_out_steps(diagram) if diagram.steps else lay_out(diagram, direction)


def draw(diagram: Diagram, layout: Layout, *, legend: bool = True) -> str:
    """A diagram whose coordinates are known."""
    entries = legend_entries(diagram, layout.width) if legend else []
    captions = [c for c in diagram.captions if legend]
    wide = max([layout.width, *(e.right for e in entries), *(len(c) * 6.0 for c in captions)])
    rows = 1 + max((entry.row for entry in entries), default=-1)
    high = layout.height + LEGEND_ROW * rows + 15.0 * len(captions) + (12 if rows else 0)
    title = f"{diagram.name}, {diagram.level} level"
    left, total_width, total_height = -MARGIN, wide + 2 * MARGIN, high + 2 * MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_n(total_width)}" '
        f'height="{_n(total_height)}" viewBox="{_n(left)} {_n(-MARGIN)} {_n(total_width)} '
        f'{_n(total_height)}" role="img" aria-label="{_attribute(title)}" '
        f'font-family="{FONTS}" font-size="{_n(POINT)}">',
        f"<title>{_text(title)}</title>",
        f"<style>{style()}</style>",
        f'<rect class="paper" x="{_n(left)}" y="{_n(-MARGIN)}" width="{_n(total_width)}" '
        f'height="{_n(total_height)}"/>',
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
        parts.append(_line("note", 0, y, SMALL + 1, _text(caption)))
    parts.append("</svg>")
    return "\n".join(parts) + "\n"


def style() -> str:
    """The style sheet of the light theme."""
    rules = [
        ".paper{fill:#fff}",
        f"text{{fill:{INK};text-anchor:middle}}",
        f".note,.size{{fill:{FAINT}}}",
        ".note{text-anchor:start}",
        f".i{{font-style:italic;font-family:{SERIFS};font-size:112%}}",
        f".cluster rect{{fill:{FRAME_FILL};stroke:{FRAME};stroke-width:1}}",
        ".cluster text{font-weight:600}",
        ".edge path{fill:none}",
        ".edge .halo{stroke:none}",
    ]
    for role, look in BOXES.items():
        rules.append(
            f".{role}>rect{{fill:{look.fill};stroke:{look.line};stroke-width:{_n(look.thickness)}}}"
        )
    for kind, stroke in EDGES.items():
        dashes = f";stroke-dasharray:{stroke.dashes}" if stroke.dashes else ""
        rules.append(
            f".{kind}>.line{{stroke:{stroke.line};stroke-width:{_n(stroke.thickness)}{dashes}}}"
        )
        rules.append(f".{kind}>.tip{{fill:{stroke.line}}}")
    rules.append(f".marked>.line{{stroke:{MARK};stroke-width:3.2}}.marked>.tip{{fill:{MARK}}}")
    rules.append(f".marked>rect{{stroke:{MARK};stroke-width:3}}")
    rules.append(
        f".past>text{{fill:{BOXES['past'].line}}}.future>text{{fill:{BOXES['future'].line}}}"
    )
    return "".join(rules)


def _cluster(cluster: Cluster, frame: Frame, label: Frame) -> str:
    return (
        f'<g class="cluster" id="{cluster.key}">{_rect(frame, 8)}'
        f'<text x="{_n(label.x)}" y="{_n(label.y + 4.5)}">{_runs(cluster.label)}</text></g>'
    )


def _box(box: Box, frame: Frame) -> str:
    look = BOXES[box.role]
    radius = min(look.radius, frame.height / 2)
    marked = " marked" if box.marked else ""
    words = _text(to_text(box.label))
    parts = [f'<g class="box {box.role}{marked}" id="{box.key}"><title>{words}</title>']
    parts.append(_rect(frame, radius))
    if box.role == "future":  # a second outline, so that it differs in grey print too
        inner = Frame(frame.x, frame.y, frame.width - 5, frame.height - 5)
        parts.append(_rect(inner, 0))
    size = POINT * 1.5 if box.role == "operator" else POINT
    step = 12.0
    lines = len(box.notes)
    y = frame.y + size * 0.36 - lines * step / 2
    parts.append(_line("name", frame.x, y, size, _runs(box.label)))
    for index, note in enumerate(box.notes):
        y += step if index or size == POINT else step + 2
        parts.append(_line("size", frame.x, y, SMALL, _runs(note)))
    parts.append("</g>")
    return "".join(parts)


def _line(kind: str, x: float, y: float, size: float, words: str) -> str:
    place = f'x="{_n(x)}" y="{_n(y)}" font-size="{_n(size)}"'
    return f'<text class="{kind}" {place}>{words}</text>'


def _rect(frame: Frame, radius: float) -> str:
    rounded = f' rx="{_n(radius)}"' if radius else ""
    return (
        f'<rect x="{_n(frame.left)}" y="{_n(frame.top)}" width="{_n(frame.width)}" '
        f'height="{_n(frame.height)}"{rounded}/>'
    )


def _edge(edge: Edge, route: Route) -> str:
    marked = " marked" if edge.marked else ""
    return (
        f'<g class="edge {edge.kind}{marked}" data-from="{edge.source}" data-to="{edge.target}">'
        f'<path class="line" d="{path_of(route)}"/>{_tip(route)}</g>'
    )


def path_of(route: Route) -> str:
    """A curve as SVG path data."""
    first, *rest = route.points
    return f"M{_n(first[0])},{_n(first[1])}C" + " ".join(f"{_n(x)},{_n(y)}" for x, y in rest)


def _tip(route: Route) -> str:
    (x, y), end = route.tip, route.points[-1]
    angle = math.atan2(y - end[1], x - end[0])
    if math.dist(route.tip, end) < 1e-6:
        before = route.points[-2]
        angle = math.atan2(end[1] - before[1], end[0] - before[0])
    corners: list[Point] = [(x, y)]
    for turn in (2.72, -2.72):
        corners.append((x + 7.5 * math.cos(angle + turn), y + 7.5 * math.sin(angle + turn)))
    listed = " ".join(f"{_n(a)},{_n(b)}" for a, b in corners)
    return f'<polygon class="tip" points="{listed}"/>'


def _size(text: str, frame: Frame) -> str:
    return _line("size", frame.x, frame.y + 3.3, SMALL, _text(text))


def _legend(entry: Entry, y: float) -> str:
    x = entry.x
    sample = ""
    if entry.delayed is not None:
        row = [(x + step, y + 8) for step in (0, 8, 15, 22)]
        sample = _edge(Edge("", "", 0, entry.delayed), Route(tuple(row), (x + 28, y + 8)))
    elif entry.role is not None:
        outline = _rect(Frame(x + 14, y + 8, entry.sample, 14), min(BOXES[entry.role].radius, 7))
        sample = f'<g class="{entry.role}">{outline}</g>'
    return sample + _line("note", x + 34, y + 11, SMALL + 1, _text(entry.name))


def _runs(label: Label) -> str:
    parts: list[str] = []
    shift = 0.0
    for run in label:
        wanted = {"below": 3.2, "time": 3.2, "above": -4.5}.get(run.style, 0.0)
        move = f' dy="{_n(wanted - shift)}"' if wanted != shift else ""
        shift = wanted
        text = _text(run.text)
        if run.style == "italic":
            parts.append(f'<tspan class="i"{move}>{text}</tspan>')
        elif run.style != "plain":
            parts.append(f'<tspan font-size="72%"{move}>{text}</tspan>')
        else:
            parts.append(f"<tspan{move}>{text}</tspan>" if move else text)
    return "".join(parts)


def _n(number: float) -> str:
    return f"{number:.1f}".removesuffix(".0")


def _text(text: str) -> str:
    """Escaped for XML."""
    return escape(visible(text).replace("\ufffe", "�").replace("\uffff", "�"), quote=False)


def _attribute(text: str) -> str:
    return escape(visible(text))
