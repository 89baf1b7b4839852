"""Suggestions for mistyped names: the closest known name by difflib's similarity ratio."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Final

from rnnc.grammar.symbols import display_name

FULL_SEARCH_LIMIT: Final = 500
"""Largest number of names that are all compared, which takes time in proportion to their number.

Of a longer list only names with the same initial and about the same length are compared.
"""


def closest_name(name: str, candidates: Iterable[str]) -> str:
    """Return the candidate closest to a mistyped name, or an empty string."""
    candidates = sorted(candidates)
    if len(candidates) > FULL_SEARCH_LIMIT:
        candidates = [k for k in candidates if k[0] == name[0] and abs(len(k) - len(name)) < 2][
            :FULL_SEARCH_LIMIT
        ]
    matches = difflib.get_close_matches(name, candidates, 1, cutoff=0.6)
    if not matches:
        matches = [k for k in candidates if k.lower() == name.lower() or k.replace("_", "") == name]
    return matches[0] if matches and matches[0] != name else ""


def did_you_mean(name: str, candidates: Iterable[str]) -> str:
    """Return a hint with the closest candidate, or an empty string."""
    closest = closest_name(name, candidates)
    return f"did you mean `{display_name(closest)}`?" if closest else ""
