"""The formats that a diagram can be written in, by the ending of the file."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from rnnc.grammar.diagnostics.errors import fail
from rnnc.grammar.source import Source
from rnnc.operators.graph.operator_graph import OperatorGraph
from rnnc.runtime.diagrams.levels.diagram_view import View, diagram_of

ENDINGS: Final = {
    ".svg": "svg",
    ".pdf": "pdf",
    ".png": "png",
    ".html": "html",
    ".htm": "html",
    ".dot": "dot",
    ".gv": "dot",
    ".mmd": "mermaid",
    ".mermaid": "mermaid",
    ".txt": "text",
}


def format_of(path: Path) -> str:
    """The format that a file's ending names.

    Raises:
        RnnError: RNN651, for an ending that names none.
    """
    ending = path.suffix.lower()
    if ending not in ENDINGS:
        what = f"`{ending}`" if ending else "without an ending"
        fail(
            "RNN651",
            f"`{path}`: there is no format {what}",
            hint=f"endings are {', '.join(ENDINGS)}",
        )
    return ENDINGS[ending]


def render(
    graph: OperatorGraph, source: Source, form: str, view: View, *, ascii_only: bool = False
) -> bytes:
    """A model as a picture in one of the formats.

    Raises:
        RnnError: RNN650, when the format needs pygraphviz and it is not installed.
    """
    if form == "html":
        from rnnc.runtime.diagrams.render.html_page import page

        return page(graph, source, view).encode("utf-8")
    diagram = diagram_of(graph, view)
    match form:
        case "svg":
            from rnnc.runtime.diagrams.render.svg import svg

            return svg(diagram).encode("utf-8")
        case "pdf" | "png":
            from rnnc.runtime.diagrams.render.pdf_png import print_picture

            return print_picture(diagram, "pdf" if form == "pdf" else "png")
        case "dot":
            from rnnc.runtime.diagrams.render.dot import dot

            return dot(diagram).encode("utf-8")
        case "mermaid":
            from rnnc.runtime.diagrams.render.mermaid import mermaid

            return mermaid(diagram).encode("utf-8")
        case _:
            from rnnc.runtime.diagrams.text.drawing import text

            return text(diagram, ascii_only=ascii_only).encode("utf-8")
