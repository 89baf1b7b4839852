"""Names in messages: as the language prints them, and which known one was meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Final

from rnnc.grammar.symbols import display_name

FULL_SEARCH_LIMIT: Final = 500
"""Among more names than these, only those of the same initial and about the same length count."""


def shown(name: str) -> str:
    """A canonical name as the language prints it: `⊕_1` is `⊕₁`."""
    return display_name(name)


def closest_name(name: str, candidates: Iterable[str]) -> str:
    """The known name that was meant, or an empty string."""
    candidates = sorted(candidates)
    if len(candidates) > FULL_SEARCH_LIMIT:
        candidates = [k for k in candidates if k[0] == name[0] and abs(len(k) - len(name)) < 2][
            :FULL_SEARCH_LIMIT
        ]
    close = difflib.get_close_matches(name, candidates, 1, cutoff=0.6)
    if not close:
        close = [k for k in candidates if k.lower() == name.lower() or k.replace("_", "") == name]
    return close[0] if close and close[0] != name else ""


def did_you_mean(name: str, candidates: Iterable[str]) -> str:
    """A hint with the closest known name, or an empty string."""
    meant = closest_name(name, candidates)
    return f"did you mean `{shown(meant)}`?" if meant else ""
