"""Choose the output format of a diagram by file suffix, and render it."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from rnnc.grammar.diagnostics.errors import fail
from rnnc.grammar.source import Source
from rnnc.operators.graph.operator_graph import OperatorGraph
from rnnc.runtime.diagrams.levels.diagram_view import DiagramView, build_diagram

FORMATS_BY_SUFFIX: Final = {
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


def format_for_path(path: Path) -> str:
    """Return the format of a file by its suffix.

    Raises:
        RnnError: RNN651, for an ending that names none.
    """
    ending = path.suffix.lower()
    if ending not in FORMATS_BY_SUFFIX:
        what = f"`{ending}`" if ending else "without an ending"
        fail(
            "RNN651",
            f"`{path}`: there is no format {what}",
            hint=f"endings are {', '.join(FORMATS_BY_SUFFIX)}",
        )
    return FORMATS_BY_SUFFIX[ending]


def render(
    graph: OperatorGraph,
    source: Source,
    format_name: str,
    view: DiagramView,
    *,
    ascii_only: bool = False,
) -> bytes:
    """Render a model in one of the formats.

    Raises:
        RnnError: RNN650, when the format needs pygraphviz and it is not installed.
    """
    if format_name == "html":
        from rnnc.runtime.diagrams.render.html_page import to_html_page

        return to_html_page(graph, source, view).encode("utf-8")
    diagram = build_diagram(graph, view)
    match format_name:
        case "svg":
            from rnnc.runtime.diagrams.render.svg import to_svg

            return to_svg(diagram).encode("utf-8")
        case "pdf" | "png":
            from rnnc.runtime.diagrams.render.pdf_png import to_pdf_or_png

            return to_pdf_or_png(diagram, "pdf" if format_name == "pdf" else "png")
        case "dot":
            from rnnc.runtime.diagrams.render.dot import to_dot

            return to_dot(diagram).encode("utf-8")
        case "mermaid":
            from rnnc.runtime.diagrams.render.mermaid import to_mermaid

            return to_mermaid(diagram).encode("utf-8")
        case _:
            from rnnc.runtime.diagrams.text.drawing import draw_text

            return draw_text(diagram, ascii_only=ascii_only).encode("utf-8")
