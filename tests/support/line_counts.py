"""Measure work by executed lines of Python per function, without a clock."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from types import CodeType, FrameType
from typing import Any


def count_lines(run: Callable[[], object], folder: str = "rnnc") -> Counter[str]:
    """Count the lines that a call executes in each function of rnnc, loop iterations included.

    Work of C within one line (a set's union, `in` on a list) counts as one.
    """
    lines: Counter[CodeType] = Counter()

    def in_line(frame: FrameType, event: str, _: Any) -> Any:
        if event == "line":
            lines[frame.f_code] += 1
        return in_line

    def at_call(frame: FrameType, event: str, _: Any) -> Any:
        if f"/{folder}/" not in frame.f_code.co_filename:
            return None
        lines[frame.f_code] += 1
        return in_line

    before = sys.gettrace()
    sys.settrace(at_call)
    try:
        run()
    finally:
        sys.settrace(before)
    counts: Counter[str] = Counter()
    for code, count in lines.items():
        file = code.co_filename.rpartition(f"/{folder}/")[2]
        counts[f"{file}:{code.co_firstlineno} {code.co_qualname}"] += count
    return counts


def superlinear_functions(
    small: Counter[str], large: Counter[str], *, factor: float
) -> dict[str, float]:
    """Return the relevant functions whose work grew by more than a factor."""
    enough = large.total() / 200
    return {
        name: count / max(1, small[name])
        for name, count in large.items()
        if count > enough and count > factor * small[name]
    }
