"""Render a diagram as Mermaid text, which GitHub, GitLab and many wikis draw."""

from __future__ import annotations

from typing import Final

from rnnc.runtime.diagrams.model.diagram import Box, Diagram, Edge
from rnnc.runtime.diagrams.model.labels import Label, replace_invisible, to_text

from .palette import BOX_STYLES, EDGE_STYLES, HIGHLIGHT_COLOR

_SHAPES: Final = {
    "input": ('(["', '"])'),
    "state": ('(["', '"])'),
    "output": ('(["', '"])'),
    "operator": ('(("', '"))'),
    "point": ('(("', '"))'),
    "unit": ('("', '")'),
    "law": ('("', '")'),
    "future": ('[["', '"]]'),
}
_ARROWS: Final = {"flow": "-->", "past": "-.->", "future": "-.->"}


def to_mermaid(diagram: Diagram) -> str:
    """Render a diagram as a flowchart."""
    lines = [f"flowchart {'BT' if diagram.steps else 'LR'}"]
    lines += [f"  %% {_escape_comment(caption)}" for caption in (diagram.name, *diagram.captions)]
    contents = diagram.cluster_contents()

    def write(parent: str, indent: str) -> None:
        lines.extend(indent + _box(box) for box in contents[parent].boxes)
        for cluster in contents[parent].clusters:
            lines.append(f'{indent}subgraph {cluster.key}["{_escape_text(cluster.label)}"]')
            write(cluster.key, indent + "  ")
            lines.append(f"{indent}end")

    write("", "  ")
    lines += [f"  {_edge(edge)}" for edge in diagram.edges]
    for role, style in BOX_STYLES.items():
        keys = [box.key for box in diagram.boxes if box.role == role]
        if keys:
            lines.append(
                f"  classDef {role} fill:{style.fill},stroke:{style.line},"
                f"stroke-width:{style.thickness:g}px,color:#1b1b1b"
            )
            lines.append(f"  class {','.join(keys)} {role}")
    for kind, stroke in EDGE_STYLES.items():
        numbers = [str(i) for i, edge in enumerate(diagram.edges) if edge.kind == kind]
        if numbers and kind != "flow":
            lines.append(f"  linkStyle {','.join(numbers)} stroke:{stroke.line}")
    marked = [str(i) for i, edge in enumerate(diagram.edges) if edge.highlighted]
    if marked:
        lines.append(f"  linkStyle {','.join(marked)} stroke:{HIGHLIGHT_COLOR},stroke-width:4px")
    return "\n".join(lines) + "\n"


def escape_label(text: str) -> str:
    """Escape characters of a quoted label that Mermaid or HTML would interpret."""
    return "".join(
        c if c.isalnum() or c in " ,.+-=·[]" or ord(c) > 126 else f"#{ord(c)};"
        for c in replace_invisible(text)
    )


def _escape_comment(text: str) -> str:
    return replace_invisible(text).replace("{", "(").replace("}", ")")


def _escape_text(label: Label) -> str:
    return escape_label(to_text(label))


def _box(box: Box) -> str:
    left, right = _SHAPES.get(box.role, ('["', '"]'))
    text = "<br/>".join([_escape_text(box.label), *map(_escape_text, box.notes)])
    return f"{box.key}{left}{text}{right}"


def _edge(edge: Edge) -> str:
    label = f'|"{escape_label(edge.label)}"|' if edge.label else ""
    return f"{edge.source} {_ARROWS[edge.kind]}{label} {edge.target}"
