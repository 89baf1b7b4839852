"""Collection of diagnostics, so that one run reports every mistake."""

from __future__ import annotations

from collections.abc import Iterator

from rnnc.grammar.source import Span

from .diagnostic import Diagnostic, Label
from .errors import RnnError


class Report:
    """Diagnostics of one run, without duplicates, iterated in the order of the text."""

    def __init__(self) -> None:
        self._diagnostics: dict[tuple[object, ...], Diagnostic] = {}

    def error(
        self,
        code: str,
        message: str,
        span: Span,
        label: str = "",
        *,
        hint: str = "",
        related: tuple[Label, ...] = (),
    ) -> None:
        """Add an error at a span."""
        self.add(Diagnostic(code, message, "error", Label(span, label), related, hint))

    def warning(
        self,
        code: str,
        message: str,
        span: Span,
        label: str = "",
        *,
        hint: str = "",
        related: tuple[Label, ...] = (),
    ) -> None:
        """Add a warning at a span."""
        self.add(Diagnostic(code, message, "warning", Label(span, label), related, hint))

    def add(self, diagnostic: Diagnostic) -> None:
        """Add a diagnostic, once for each code and span.

        Loops and repeated uses of a body report the same mistake again.
        """
        span = diagnostic.span
        location = (id(span.source), span.start, span.end) if span else diagnostic.message
        self._diagnostics.setdefault((diagnostic.code, location), diagnostic)

    def __iter__(self) -> Iterator[Diagnostic]:
        """Yield diagnostics in text order, files in the order of their first diagnostic."""
        files: dict[str, int] = {}
        for diagnostic in self._diagnostics.values():
            files.setdefault(diagnostic.file, len(files))
        return iter(
            sorted(
                self._diagnostics.values(),
                key=lambda d: (files[d.file], d.span.start if d.span else -1),
            )
        )

    @property
    def has_errors(self) -> bool:
        """Return true if any diagnostic is an error."""
        return any(diagnostic.severity == "error" for diagnostic in self._diagnostics.values())

    def raise_if_errors(self) -> None:
        """Raise RnnError with all diagnostics if one of them is an error."""
        if self.has_errors:
            raise RnnError(tuple(self))
