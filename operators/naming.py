"""Names in messages: as the language prints them, and which known one was meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from ..grammar.symbols import display_name


def shown(name: str) -> str:
    """A canonical name as the language prints it: `⊕_1` is `⊕₁`."""
    return display_name(name)


def closest(name: str, known: Iterable[str]) -> str:
    """The known name that was meant, or an empty string."""
    known = sorted(known)
    close = difflib.get_close_matches(name, known, 1, cutoff=0.6)
    if not close:
        close = [k for k in known if k.lower() == name.lower() or k.replace("_", "") == name]
    return close[0] if close and close[0] != name else ""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A hint with the closest known name, or an empty string."""
    meant = closest(name, known)
    return f"did you mean `{shown(meant)}`?" if meant else ""
