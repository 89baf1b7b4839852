"""Names in messages: as the language prints them, and which known one was meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Final

from rnnc.grammar.symbols import display_name

MANY: Final = 500
"""Among more names than these, only those of the same initial and about the same length count."""


def shown(name: str) -> str:
    """A canonical name as the language prints it: `⊕_1` is `⊕₁`."""
    return display_name(name)


def closest(name: str, known: Iterable[str]) -> str:
    """The known name that was meant, or an empty string."""
    known = sorted(known)
    if len(known) > MANY:
        known = [k for k in known if k[0] == name[0] and abs(len(k) - len(name)) < 2][:MANY]
    close = difflib.get_close_matches(name, known, 1, cutoff=0.6)
    if not close:
        close = [k for k in known if k.lower() == name.lower() or k.replace("_", "") == name]
    return close[0] if close and close[0] != name else ""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A hint with the closest known name, or an empty string."""
    meant = closest(name, known)
    return f"did you mean `{shown(meant)}`?" if meant else ""
