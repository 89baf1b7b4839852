"""How large a drawing would be, and how large one may be: found before anything is laid out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from rnnc.grammar.diagnostics.errors import fail

from .diagram import Diagram

MAX_BOXES: Final = 1500
"""Boxes of the largest drawing."""

MAX_PASSING_LINES: Final = 4000
"""Places of the largest drawing at which a line passes by a row of boxes: layouts grow with them
faster than with anything else, and nobody follows so many."""


@dataclass(frozen=True, slots=True)
class DrawingSize:
    """What the work of a layout, and of reading it, grows with."""

    boxes: int
    passing_lines: int

    def fits(self, steps: int = 1) -> bool:
        """Whether so many of it side by side can be drawn."""
        return self.boxes * steps <= MAX_BOXES and self.passing_lines * steps <= MAX_PASSING_LINES


def measure_drawing(diagram: Diagram) -> DrawingSize:
    """The extent of a diagram whose boxes stand in rows, each right above what reads it.

    What nothing reads in the same step stands right below what feeds it.
    """
    flows = [edge for edge in diagram.edges if not edge.delay or diagram.steps]
    feeders: dict[str, list[str]] = {}
    waiting = {box.key: 0 for box in diagram.boxes}
    for edge in flows:
        feeders.setdefault(edge.target, []).append(edge.source)
        waiting[edge.source] += 1
    ends = {key for key, count in waiting.items() if not count}
    height = dict.fromkeys(waiting, 0)
    ready = list(ends)
    while ready:
        key = ready.pop()
        for feeder in feeders.get(key, ()):
            height[feeder] = max(height[feeder], height[key] + 1)
            waiting[feeder] -= 1
            if not waiting[feeder]:
                ready.append(feeder)
    for box in diagram.boxes:
        if box.key in ends and box.role != "output" and box.key in feeders:
            height[box.key] = min(height[feeder] for feeder in feeders[box.key]) - 1
    passing = sum(max(0, height[e.source] - height[e.target] - 1) for e in flows)
    return DrawingSize(len(diagram.boxes), passing)


def require_drawable(diagram: Diagram) -> None:
    """Raise RnnError RNN653 for a diagram that is too large to draw."""
    extent = measure_drawing(diagram)
    if extent.fits():
        return
    if extent.boxes > MAX_BOXES:
        found = f"{extent.boxes:,} boxes; the limit is {MAX_BOXES:,}"
    else:
        found = (
            f"{extent.boxes:,} boxes, and lines would pass by a row of them {extent.passing_lines:,} "
            f"times; the limit is {MAX_PASSING_LINES:,}"
        )
    fail(
        "RNN653",
        f"a drawing of `{diagram.name}` at the {diagram.level} level would have {found}",
        hint="draw it with smaller parameters (`--set`) or fewer steps (`--unroll`), or write "
        "`.dot` or `.mmd`, which are not laid out here",
    )
