"""Where a user can mend a mistake: never inside the library that ships with rnnc."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final, Protocol

from rnnc.grammar.source import Span

LIBRARY: Final = Path(__file__).parent.parent / "library"
"""The folder of the library that ships with rnnc."""


class ApplicationSite(Protocol):
    """An application of an operator: where it stands, and inside which other one."""

    @property
    def parent(self) -> int:
        """The number of the application around it, or -1."""

    @property
    def span(self) -> Span:
        """Where the operator is used."""


def is_library_span(span: Span) -> bool:
    """Whether a place is in the library."""
    path = span.source.path
    return path is not None and path.parent == LIBRARY


def user_span(span: Span, application: int, applications: Sequence[ApplicationSite]) -> Span:
    """A place, or the use of the library's operator in which it lies."""
    while is_library_span(span) and application >= 0:
        used = applications[application]
        span, application = used.span, used.parent
    return span
