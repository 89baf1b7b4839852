"""The exception that carries diagnostics to the user."""

from __future__ import annotations

from typing import NoReturn

from rnnc.grammar.source import Source

from .diagnostic import Diagnostic


class RnnError(Exception):
    """Failure of a spec, data file or checkpoint, described by its `diagnostics`."""

    def __init__(self, diagnostics: tuple[Diagnostic, ...]) -> None:
        super().__init__(diagnostics)
        self.diagnostics = diagnostics

    def __str__(self) -> str:
        from .render import render_text

        return "\n\n".join(render_text(diagnostic) for diagnostic in self.diagnostics)


def fail(code: str, message: str, *, hint: str = "", source: Source | None = None) -> NoReturn:
    """Raise one diagnostic without a span in a spec (of a data file, a checkpoint)."""
    raise RnnError((Diagnostic(code, message, hint=hint, source=source),))
