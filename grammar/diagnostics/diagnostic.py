"""Diagnostics as immutable values: code, message, labeled spans, and a hint."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from rnnc.grammar.source import Source, Span

Severity = Literal["error", "warning", "note"]


@dataclass(frozen=True, slots=True)
class Label:
    """Span of a source with a short explanation."""

    span: Span
    text: str = ""


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One mistake: stable code, message in the user's own names, labels, and a hint.

    `source` names the file of a mistake without a span (a missing file, for example).
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
        """Return the primary span, or None."""
        return self.label.span if self.label else None

    @property
    def file(self) -> str:
        """Return the name of the file at fault, or an empty string."""
        if self.label:
            return self.label.span.source.name
        return self.source.name if self.source else ""
