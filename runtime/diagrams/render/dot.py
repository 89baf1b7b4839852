"""Render a diagram in Graphviz's DOT language; the same spec gives the same bytes.

Every edge has its `delay` and every box its `role` as an attribute, so that a program can parse
the wiring.
"""

from __future__ import annotations

from html import escape
from typing import Final

from rnnc.runtime.diagrams.model.diagram import Box, Diagram, Edge
from rnnc.runtime.diagrams.model.labels import Label, replace_invisible, to_text

from .palette import BOX_STYLES, EDGE_STYLES, FRAME_COLOR, FRAME_FILL_COLOR, HIGHLIGHT_COLOR

_SHAPES: Final = {"point": "circle", "operator": "circle"}
_DASHES: Final = {"flow": "solid", "past": "dashed", "future": "dotted"}


def to_dot(diagram: Diagram) -> str:
    """Render a diagram as a digraph."""
    direction = "BT" if diagram.steps else "LR"
    lines = [
        f"digraph {quote(diagram.name)} {{",
        f"  graph [rankdir={direction}, newrank=true, nodesep=0.2, ranksep=0.38,"
        ' fontname="Helvetica", fontsize=12];',
        '  node [fontname="Helvetica", fontsize=12, margin="0.09,0.05", style=filled];',
        '  edge [fontname="Helvetica", fontsize=9, arrowsize=0.6];',
    ]
    contents = diagram.cluster_contents()

    def write(parent: str, indent: str) -> None:
        lines.extend(indent + _box(box) for box in contents[parent].boxes)
        for cluster in contents[parent].clusters:
            lines.append(f"{indent}subgraph cluster_{cluster.key} {{")
            lines.append(
                f'{indent}  label={html_label(cluster.label)}; labeljust=l; style="rounded,filled";'
                f' color="{FRAME_COLOR}"; fillcolor="{FRAME_FILL_COLOR}";'
            )
            write(cluster.key, indent + "  ")
            lines.append(f"{indent}}}")

    write("", "  ")
    lines += [f"  {_edge(edge)}" for edge in diagram.edges]
    if diagram.captions:
        text = "".join(f"{escape_text(caption)}<br/>" for caption in diagram.captions)
        lines.append(f"  label=<{text}>; labelloc=b;")
    lines.append("}")
    return "\n".join(lines) + "\n"


def quote(text: str) -> str:
    """Quote a string for DOT."""
    return '"' + replace_invisible(text).replace("\\", "\\\\").replace('"', '\\"') + '"'


def escape_text(text: str) -> str:
    """Escape text for an HTML-like label."""
    return escape(replace_invisible(text), quote=True)


def html_label(label: Label, *notes: Label) -> str:
    """Build an HTML-like label with real subscripts."""
    return (
        f"<{_html_runs(label)}"
        + "".join(f'<br/><font point-size="9">{_html_runs(note)}</font>' for note in notes)
        + ">"
    )


def _html_runs(label: Label) -> str:
    tags = {"italic": "i", "below": "sub", "time": "sub", "above": "sup"}
    parts = []
    for run in label:
        text = escape_text(run.text)
        tag = tags.get(run.style)
        parts.append(f"<{tag}>{text}</{tag}>" if tag and text else text)
    return "".join(parts) or " "


def _box(box: Box) -> str:
    style = BOX_STYLES[box.role]
    attributes = [
        f"label={html_label(box.label, *box.notes)}",
        f"role={box.role}",
        f"shape={_SHAPES.get(box.role, 'box')}",
        f'fillcolor="{style.fill}"',
        f'color="{HIGHLIGHT_COLOR if box.highlighted else style.line}"',
        f"penwidth={3 if box.highlighted else style.thickness:g}",
        f"tooltip={quote(to_text(box.label))}",
    ]
    if 0 < style.radius < 99:
        attributes.append('style="rounded,filled"')
    if box.role in {"past", "future"}:
        attributes.append(f'fontcolor="{style.line}"')
    if box.role == "future":
        attributes.append("peripheries=2")
    if box.role == "point":
        attributes.append("margin=0.02")
    return f"{box.key} [{', '.join(attributes)}];"


def _edge(edge: Edge) -> str:
    stroke = EDGE_STYLES[edge.kind]
    attributes = [f"delay={edge.delay}", f"style={_DASHES[edge.kind]}"]
    attributes.append(f'color="{HIGHLIGHT_COLOR if edge.highlighted else stroke.line}"')
    if edge.highlighted:
        attributes.append("penwidth=3")
    if edge.label:
        attributes.append(f"label={quote(edge.label)}")
    if edge.delay:  # keeps the boxes of a loop close together
        attributes.append("constraint=false")
    return f"{edge.source} -> {edge.target} [{', '.join(attributes)}];"
