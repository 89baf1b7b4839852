"""Diagnostics as values: what is wrong, where, and what to write instead."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from rnnc.grammar.source import Source, Span

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
