"""Notebook support: display models as pictures; `%%rnn name` compiles a cell.

`%load_ext rnnc` turns both on; the pictures come by themselves once `rnnc.compile` is used.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, Protocol

from rnnc.grammar.diagnostics.errors import RnnError
from rnnc.grammar.diagnostics.render import render_text
from rnnc.operators.analyze import Analysis
from rnnc.operators.graph.operator_graph import OperatorGraph

USAGE = "%%rnn NAME [parameter=value …], and the spec below it"


class Shell(Protocol):
    """The part of IPython's InteractiveShell used here."""

    user_ns: dict[str, Any]

    def register_magic_function(
        self, func: Any, magic_kind: str = "line", magic_name: str | None = None
    ) -> None:
        """Register a function as a magic."""


def load_ipython_extension(shell: Shell) -> None:
    """Load the extension: `%load_ext rnnc` calls this."""
    install_display_hooks()

    def rnn(line: str, cell: str) -> Any:
        """Compile the cell's spec, bind it to a name, and show it."""
        return compile_cell(shell, line, cell)

    shell.register_magic_function(rnn, "cell", "rnn")


def install_display_hooks() -> None:
    """Display operator graphs, analyses and compiled models as pictures."""
    kinds: list[Any] = [OperatorGraph, Analysis]
    if "torch" in sys.modules:  # there are no compiled models without it, and it loads slowly
        from rnnc.compiler.module.compiled_rnn import CompiledRNN

        kinds.append(CompiledRNN)
    for kind in kinds:
        kind._repr_mimebundle_ = _repr_mimebundle


def compile_cell(shell: Shell, line: str, cell: str) -> Any:
    """Compile a cell and bind the model to a name; on errors print them and bind nothing."""
    from rnnc import compile

    name, *assignments = line.split() or [""]
    if not name.isidentifier():
        print(f"rnnc: expected a name for the model: {USAGE}", file=sys.stderr)
        return None
    sizes: dict[str, int | float] = {}
    for part in assignments:
        key, _, value = part.partition("=")
        try:
            sizes[key] = float(value) if "." in value or "e" in value else int(value)
        except ValueError:
            print(f"rnnc: expected parameter=value, got {part!r}: {USAGE}", file=sys.stderr)
            return None
    try:
        model = compile(cell.rstrip() + "\n", parameters=sizes)
    except RnnError as error:
        print("\n\n".join(map(render_text, error.diagnostics)), file=sys.stderr)
        return None
    except ValueError as error:
        print(f"rnnc: {error}", file=sys.stderr)
        return None
    shell.user_ns[name] = model
    return model


def _repr_mimebundle(value: Any, include: Any = None, exclude: Any = None) -> Mapping[str, str]:
    """Return the MIME bundle of an object; IPython applies `include` and `exclude` itself."""
    graph = value if isinstance(value, OperatorGraph) else getattr(value, "graph", None)
    if graph is None:  # an analysis of an invalid spec
        return {"text/plain": "\n\n".join(map(render_text, value.diagnostics))}
    return mime_bundle(graph)


def mime_bundle(graph: OperatorGraph) -> dict[str, str]:
    """Render a model as text and Mermaid, and as SVG if pygraphviz is installed."""
    from rnnc.runtime.diagrams.levels.diagram_view import DiagramView, build_diagram
    from rnnc.runtime.diagrams.render.mermaid import to_mermaid
    from rnnc.runtime.diagrams.render.svg import to_svg
    from rnnc.runtime.diagrams.text.drawing import draw_text

    diagram = build_diagram(graph, DiagramView())
    try:
        bundle = {"text/plain": draw_text(diagram), "text/vnd.mermaid": to_mermaid(diagram)}
    except RnnError as error:  # too large to draw
        return {"text/plain": str(error)}
    try:
        bundle["image/svg+xml"] = to_svg(diagram)
    except RnnError:  # without pygraphviz
        return bundle
    return bundle
