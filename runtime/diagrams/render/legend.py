"""Lay out a diagram's legend in rows, one entry for each kind of box and edge in it."""

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
    """One entry: a sample of a box, or (`edge_kind`) of an edge between steps, and its name."""

    role: BoxRole | None
    edge_kind: EdgeKind | None
    name: str
    x: float
    right: float
    row: int

    @property
    def sample_width(self) -> float:
        """Width of a box's sample; it is 14 high."""
        return 14.0 if self.role in {"point", "operator"} else 26.0


def layout_legend(diagram: Diagram, available: float) -> list[LegendEntry]:
    """Lay out entries for the boxes and delays of a diagram within a width."""
    roles = {box.role for box in diagram.boxes}
    samples: list[tuple[BoxRole | None, EdgeKind | None, str]] = [
        (role, None, style.meaning)
        for role, style in BOX_STYLES.items()
        if role in roles and role not in {"past", "future"}
    ]
    if "past" in roles:
        past_name = _delay_text(diagram, "past", "to the next step", "to later steps")
        samples.append((None, "past", past_name))
    if "future" in roles:
        future_name = _delay_text(diagram, "future", "to the step before", "to earlier steps")
        samples.append((None, "future", future_name))
    entries: list[LegendEntry] = []
    x, row = 0.0, 0
    for role, delayed, text in samples:
        entry_width = 34 + label_width(plain_label(text), NOTE_SIZE + 1)
        if x and x + entry_width > max(available, _LEAST_WIDTH):
            x, row = 0.0, row + 1
        entries.append(LegendEntry(role, delayed, text, x, x + entry_width, row))
        x += entry_width + 16
    return entries


def _delay_text(diagram: Diagram, kind: EdgeKind, near: str, far: str) -> str:
    """Describe where delayed values go, with all delays that occur."""
    delays = sorted({e.delay for e in diagram.edges if e.delay and e.kind == kind}, key=abs)
    stores = ", ".join(to_text(delay_label(steps)) for steps in delays)
    return f"{near if [abs(steps) for steps in delays] == [1] else far}, through {stores}"
