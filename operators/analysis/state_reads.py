"""Reads of states in the text, recorded for the checks of causality."""

from __future__ import annotations

from dataclasses import dataclass

from rnnc.grammar.source import Span


@dataclass(frozen=True, slots=True)
class StateRead:
    """Read of a state: its delay, its span, and if it is the bare name."""

    state: str
    delay: int
    is_bare: bool
    span: Span
