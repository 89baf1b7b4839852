"""Print a line to standard error once a process."""

from __future__ import annotations

import sys

_warned: set[str] = set()


def warn_once(line: str) -> None:
    """Print a line on standard error, once a process."""
    if line not in _warned:
        _warned.add(line)
        print(line, file=sys.stderr)
