"""Estimate the size of a drawing before any layout, and reject drawings that are too large."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from rnnc.grammar.diagnostics.errors import fail

from .diagram import Diagram

MAX_BOXES: Final = 1500
"""Boxes of the largest drawing."""

MAX_PASSING_LINES: Final = 4000
"""Crossings of lines and box rows in the largest drawing; layout time grows with them."""


@dataclass(frozen=True, slots=True)
class DrawingSize:
    """Boxes of a drawing, and crossings of its lines with rows of boxes."""

    boxes: int
    passing_lines: int

    def fits(self, steps: int = 1) -> bool:
        """Test that `steps` copies side by side stay within the limits."""
        return self.boxes * steps <= MAX_BOXES and self.passing_lines * steps <= MAX_PASSING_LINES


def measure_drawing(diagram: Diagram) -> DrawingSize:
    """Measure a diagram with boxes in rows, each right above its nearest reader.

    What nothing reads in the same step stands right below what feeds it.
    """
    edges = [edge for edge in diagram.edges if not edge.delay or diagram.steps]
    feeders: dict[str, list[str]] = {}
    unplaced_readers = {box.key: 0 for box in diagram.boxes}
    for edge in edges:
        feeders.setdefault(edge.target, []).append(edge.source)
        unplaced_readers[edge.source] += 1
    sinks = {key for key, count in unplaced_readers.items() if not count}
    height = dict.fromkeys(unplaced_readers, 0)
    ready = list(sinks)
    while ready:
        key = ready.pop()
        for feeder in feeders.get(key, ()):
            height[feeder] = max(height[feeder], height[key] + 1)
            unplaced_readers[feeder] -= 1
            if not unplaced_readers[feeder]:
                ready.append(feeder)
    for box in diagram.boxes:
        if box.key in sinks and box.role != "output" and box.key in feeders:
            height[box.key] = min(height[feeder] for feeder in feeders[box.key]) - 1
    passing = sum(max(0, height[e.source] - height[e.target] - 1) for e in edges)
    return DrawingSize(len(diagram.boxes), passing)


def require_drawable(diagram: Diagram) -> None:
    """Raise RnnError RNN653 for a diagram that is too large to draw."""
    size = measure_drawing(diagram)
    if size.fits():
        return
    if size.boxes > MAX_BOXES:
        problem = f"{size.boxes:,} boxes; the limit is {MAX_BOXES:,}"
    else:
        problem = (
            f"{size.boxes:,} boxes, and lines would pass by a row of them "
            f"{size.passing_lines:,} times; the limit is {MAX_PASSING_LINES:,}"
        )
    fail(
        "RNN653",
        f"a drawing of `{diagram.name}` at the {diagram.level} level would have {problem}",
        hint="draw it with smaller parameters (`--set`) or fewer steps (`--unroll`), or write "
        "`.dot` or `.mmd`, which are not laid out here",
    )
