"""A diagram as Mermaid text, which GitHub, GitLab and many wikis draw."""

from __future__ import annotations

from typing import Final

from rnnc.runtime.diagrams.model.diagram import Box, Diagram, Edge
from rnnc.runtime.diagrams.model.labels import Label, to_text, visible

from .palette import BOXES, EDGES, MARK

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


def mermaid(diagram: Diagram) -> str:
    """The diagram as a flowchart."""
    lines = [f"flowchart {'BT' if diagram.steps else 'LR'}"]
    lines += [f"  %% {_comment(caption)}" for caption in (diagram.name, *diagram.captions)]
    contents = diagram.contents()

    def write(parent: str, indent: str) -> None:
        lines.extend(indent + _box(box) for box in contents[parent].boxes)
        for cluster in contents[parent].clusters:
            lines.append(f'{indent}subgraph {cluster.key}["{_words(cluster.label)}"]')
            write(cluster.key, indent + "  ")
            lines.append(f"{indent}end")

    write("", "  ")
    lines += [f"  {_edge(edge)}" for edge in diagram.edges]
    for role, look in BOXES.items():
        keys = [box.key for box in diagram.boxes if box.role == role]
        if keys:
            lines.append(
                f"  classDef {role} fill:{look.fill},stroke:{look.line},"
                f"stroke-width:{look.thickness:g}px,color:#1b1b1b"
            )
            lines.append(f"  class {','.join(keys)} {role}")
    for kind, stroke in EDGES.items():
        numbers = [str(i) for i, edge in enumerate(diagram.edges) if edge.kind == kind]
        if numbers and kind != "flow":
            lines.append(f"  linkStyle {','.join(numbers)} stroke:{stroke.line}")
    marked = [str(i) for i, edge in enumerate(diagram.edges) if edge.marked]
    if marked:
        lines.append(f"  linkStyle {','.join(marked)} stroke:{MARK},stroke-width:4px")
    return "\n".join(lines) + "\n"


def escaped(text: str) -> str:
    """Text inside a quoted label: whatever Mermaid or HTML could read becomes a code."""
    return "".join(
        c if c.isalnum() or c in " ,.+-=·[]" or ord(c) > 126 else f"#{ord(c)};"
        for c in visible(text)
    )


def _comment(text: str) -> str:
    return visible(text).replace("{", "(").replace("}", ")")


def _words(label: Label) -> str:
    return escaped(to_text(label))


def _box(box: Box) -> str:
    left, right = _SHAPES.get(box.role, ('["', '"]'))
    words = "<br/>".join([_words(box.label), *map(_words, box.notes)])
    return f"{box.key}{left}{words}{right}"


def _edge(edge: Edge) -> str:
    label = f'|"{escaped(edge.label)}"|' if edge.label else ""
    return f"{edge.source} {_ARROWS[edge.kind]}{label} {edge.target}"
