"""What came of one check in one case."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Outcome:
    """Right, wrong, or no answer: `aside` where there is nothing to compare with.

    detail: what is off, or why there is no answer; of what is right, what was left out of it.
    """

    status: Literal["right", "wrong", "aside"]
    detail: str = ""


def outcome_of_mismatch(mismatch: str) -> Outcome:
    """Wrong where there are words for what is off."""
    return Outcome("wrong", mismatch) if mismatch else Outcome("right")
