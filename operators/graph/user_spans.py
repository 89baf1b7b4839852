"""Map spans in the shipped library to the user's own text, where a mistake can be corrected."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final, Protocol

from rnnc.grammar.source import Span

LIBRARY: Final = Path(__file__).parent.parent / "library"
"""Folder of the library that ships with rnnc."""


class ApplicationSite(Protocol):
    """Application of an operator, as its span and the application around it."""

    @property
    def parent(self) -> int:
        """Return the index of the application around it, or -1."""

    @property
    def span(self) -> Span:
        """Return the span of the application."""


def is_library_span(span: Span) -> bool:
    """Return true if a span lies in the shipped library."""
    path = span.source.path
    return path is not None and path.parent == LIBRARY


def user_span(span: Span, application: int, applications: Sequence[ApplicationSite]) -> Span:
    """Return a span, or the innermost application around it outside the library."""
    while is_library_span(span) and application >= 0:
        site = applications[application]
        span, application = site.span, site.parent
    return span
