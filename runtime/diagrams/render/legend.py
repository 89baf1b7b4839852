"""The legend of a diagram: what is in it, each kind once, laid out in rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from rnnc.runtime.diagrams.layout.box_sizes import NOTE_SIZE, label_width
from rnnc.runtime.diagrams.model.diagram import BoxRole, Diagram, EdgeKind
from rnnc.runtime.diagrams.model.labels import delay_label, plain_label, to_text

from .palette import BOX_STYLES

LEGEND_ROW: Final = 20.0
_LEAST_WIDTH: Final = 420.0


@dataclass(frozen=True, slots=True)
class LegendEntry:
    """One sample with its words: of a box, or (`edge_kind`) of an edge between steps."""

    role: BoxRole | None
    edge_kind: EdgeKind | None
    name: str
    x: float
    right: float
    row: int

    @property
    def sample_width(self) -> float:
        """The width of a box's sample, 14 high."""
        return 14.0 if self.role in {"point", "operator"} else 26.0


def layout_legend(diagram: Diagram, available: float) -> list[LegendEntry]:
    """The entries for what a diagram holds; delays show as edges, which always have a box."""
    held = {box.role for box in diagram.boxes}
    wanted: list[tuple[BoxRole | None, EdgeKind | None, str]] = [
        (role, None, look.meaning)
        for role, look in BOX_STYLES.items()
        if role in held and role not in {"past", "future"}
    ]
    if "past" in held:
        after = _delay_text(diagram, "past", "to the next step", "to later steps")
        wanted.append((None, "past", after))
    if "future" in held:
        before = _delay_text(diagram, "future", "to the step before", "to earlier steps")
        wanted.append((None, "future", before))
    entries: list[LegendEntry] = []
    x, row = 0.0, 0
    for role, delayed, words in wanted:
        wide = 34 + label_width(plain_label(words), NOTE_SIZE + 1)
        if x and x + wide > max(available, _LEAST_WIDTH):
            x, row = 0.0, row + 1
        entries.append(LegendEntry(role, delayed, words, x, x + wide, row))
        x += wide + 16
    return entries


def _delay_text(diagram: Diagram, kind: EdgeKind, near: str, far: str) -> str:
    """Where a delayed value goes, with the delays that occur."""
    delays = sorted({e.delay for e in diagram.edges if e.delay and e.kind == kind}, key=abs)
    stores = ", ".join(to_text(delay_label(steps)) for steps in delays)
    return f"{near if [abs(steps) for steps in delays] == [1] else far}, through {stores}"
