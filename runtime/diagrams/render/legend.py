"""The legend of a diagram: what is in it, each kind once, laid out in rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from rnnc.runtime.diagrams.layout.box_sizes import SMALL, width
from rnnc.runtime.diagrams.model.diagram import Diagram, Kind, Role
from rnnc.runtime.diagrams.model.labels import delay, plain, to_text

from .palette import BOXES

LEGEND_ROW: Final = 20.0
_LEAST_WIDTH: Final = 420.0


@dataclass(frozen=True, slots=True)
class Entry:
    """One sample with its words: of a box, or (`delayed`) of an edge between steps."""

    role: Role | None
    delayed: Kind | None
    name: str
    x: float
    right: float
    row: int

    @property
    def sample(self) -> float:
        """The width of a box's sample, 14 high."""
        return 14.0 if self.role in {"point", "operator"} else 26.0


def legend_entries(diagram: Diagram, available: float) -> list[Entry]:
    """The entries for what a diagram holds; delays show as edges, which always have a box."""
    held = {box.role for box in diagram.boxes}
    wanted: list[tuple[Role | None, Kind | None, str]] = [
        (role, None, look.meaning)
        for role, look in BOXES.items()
        if role in held and role not in {"past", "future"}
    ]
    if "past" in held:
        after = _through(diagram, "past", "to the next step", "to later steps")
        wanted.append((None, "past", after))
    if "future" in held:
        before = _through(diagram, "future", "to the step before", "to earlier steps")
        wanted.append((None, "future", before))
    entries: list[Entry] = []
    x, row = 0.0, 0
    for role, delayed, words in wanted:
        wide = 34 + width(plain(words), SMALL + 1)
        if x and x + wide > max(available, _LEAST_WIDTH):
            x, row = 0.0, row + 1
        entries.append(Entry(role, delayed, words, x, x + wide, row))
        x += wide + 16
    return entries


def _through(diagram: Diagram, kind: Kind, near: str, far: str) -> str:
    """Where a delayed value goes, with the delays that occur."""
    delays = sorted({e.delay for e in diagram.edges if e.delay and e.kind == kind}, key=abs)
    stores = ", ".join(to_text(delay(steps)) for steps in delays)
    return f"{near if [abs(steps) for steps in delays] == [1] else far}, through {stores}"
