"""Outcome of one check in one case."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Outcome:
    """Outcome: right, wrong, or skipped for lack of a number to compare with.

    detail: the mismatch, or why it was skipped; of `right`, the parts that were left out.
    """

    status: Literal["right", "wrong", "aside"]
    detail: str = ""


def outcome_of_mismatch(mismatch: str) -> Outcome:
    """Return wrong with the words for a mismatch, right without any."""
    return Outcome("wrong", mismatch) if mismatch else Outcome("right")
