"""Reads of states as the text has them."""

from __future__ import annotations

from dataclasses import dataclass

from rnnc.grammar.source import Span


@dataclass(frozen=True, slots=True)
class StateRead:
    """A state as it was read in the text, for the checks of time."""

    state: str
    delay: int
    is_bare: bool
    span: Span
