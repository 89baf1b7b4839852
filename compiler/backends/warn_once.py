"""Print a line to standard error once a process."""

from __future__ import annotations

import sys

_told: set[str] = set()


def tell_once(line: str) -> None:
    """Say something on standard error, once a process."""
    if line not in _told:
        _told.add(line)
        print(line, file=sys.stderr)
