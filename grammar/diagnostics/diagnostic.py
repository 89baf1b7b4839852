"""Diagnostics as values: what is wrong, where, and what to write instead."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NoReturn

from .source import Source, Span

Severity = Literal["error", "warning", "note"]


@dataclass(frozen=True, slots=True)
class Label:
    """A place in the text with its own words."""

    span: Span
    text: str = ""


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One mistake: a stable code, a headline in the user's own names, its places, and a hint.

    `source` names the file when the mistake has no place in the text (a missing file, say).
    """

    code: str
    message: str
    severity: Severity = "error"
    label: Label | None = None
    related: tuple[Label, ...] = ()
    hint: str = ""
    source: Source | None = None

    @property
    def span(self) -> Span | None:
        """The primary place, where there is one."""
        return self.label.span if self.label else None

    @property
    def file(self) -> str:
        """The name of the file at fault, or an empty string."""
        if self.label:
            return self.label.span.source.name
        return self.source.name if self.source else ""


class RnnError(Exception):
    """A spec, data file or checkpoint is at fault; `diagnostics` says where and what to do."""

    def __init__(self, diagnostics: tuple[Diagnostic, ...]) -> None:
        super().__init__(diagnostics)
        self.diagnostics = diagnostics

    def __str__(self) -> str:
        from .render import render_text

        return "\n\n".join(render_text(diagnostic) for diagnostic in self.diagnostics)


def fail(code: str, message: str, *, hint: str = "", source: Source | None = None) -> NoReturn:
    """Raise one diagnostic that has no place in a spec's text (a data file, a checkpoint)."""
    raise RnnError((Diagnostic(code, message, hint=hint, source=source),))


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
    def failed(self) -> bool:
        """Whether there is an error among them."""
        return any(diagnostic.severity == "error" for diagnostic in self._diagnostics.values())

    def raise_if_failed(self) -> None:
        """Raise everything collected when there is an error among it."""
        if self.failed:
            raise RnnError(tuple(self))
