"""Diagnostics collected while a text is analyzed."""

from __future__ import annotations

from collections.abc import Iterator

from rnnc.grammar.source import Span

from .diagnostic import Diagnostic, Label
from .errors import RnnError


class Report:
    """Collects the diagnostics of a run, so that one run reports every mistake."""

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
        """Add an error at a place."""
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
        """Add a warning at a place."""
        self.add(Diagnostic(code, message, "warning", Label(span, label), related, hint))

    def add(self, diagnostic: Diagnostic) -> None:
        """Add a diagnostic; one mistake met twice (a loop, a body used twice) stays one message."""
        span = diagnostic.span
        place = (id(span.source), span.start, span.end) if span else ()
        what = place or diagnostic.message
        self._diagnostics.setdefault((diagnostic.code, what), diagnostic)

    def __iter__(self) -> Iterator[Diagnostic]:
        """In the order of the text, file by file as they were first met."""
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
        """Whether there is an error among them."""
        return any(diagnostic.severity == "error" for diagnostic in self._diagnostics.values())

    def raise_if_errors(self) -> None:
        """Raise everything collected when there is an error among it."""
        if self.has_errors:
            raise RnnError(tuple(self))
