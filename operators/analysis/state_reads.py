"""Reads of states as the text has them."""

from __future__ import annotations

from dataclasses import dataclass

from rnnc.grammar.source import Span


@dataclass(frozen=True, slots=True)
class Read:
    """A state as it was read in the text, for the checks of time."""

    state: str
    delay: int
    bare: bool
    span: Span
