"""Route edges between two layers of a text drawing: one net per value, one row per net."""

from __future__ import annotations

from dataclasses import dataclass, field

from rnnc.runtime.diagrams.model.diagram import EdgeKind


@dataclass(slots=True)
class Net:
    """A value on its way down, from columns above to columns below.

    `arrow_columns` are the columns below that end in an arrow. `rail` is a column beside the
    drawing by which the value leaves to, or arrives from, another layer.
    """

    kind: EdgeKind
    above: list[int] = field(default_factory=list)
    below: list[int] = field(default_factory=list)
    arrow_columns: list[int] = field(default_factory=list)
    rail: int | None = None
    row: int = 0

    @property
    def is_straight(self) -> bool:
        """True if it needs no horizontal line."""
        return self.rail is None and len({*self.above, *self.below}) == 1

    @property
    def column_range(self) -> tuple[int, int]:
        """First and last column of its horizontal line."""
        columns = [*self.above, *self.below] + ([self.rail] if self.rail is not None else [])
        return min(columns), max(columns)


def assign_rows(nets: list[Net]) -> int:
    """Give each net a row without overlap; return the number of rows.

    If one net leaves a column downwards at which another arrives, the first gets the higher row;
    otherwise their vertical parts would overlap.
    """
    routed = [net for net in nets if not net.is_straight]
    must_be_above = {
        id(net): [
            other for other in routed if other is not net and set(other.above) & set(net.below)
        ]
        for net in routed
    }
    rows: list[list[Net]] = []
    placed: set[int] = set()
    waiting = sorted(routed, key=lambda net: net.column_range)
    while waiting:
        ready = [net for net in waiting if all(id(o) in placed for o in must_be_above[id(net)])]
        net = (ready or waiting)[0]
        waiting.remove(net)
        first = max((o.row + 1 for o in must_be_above[id(net)] if id(o) in placed), default=0)
        low, high = net.column_range
        row = first
        while row < len(rows) and any(
            o.column_range[0] <= high + 1 and low <= o.column_range[1] + 1 for o in rows[row]
        ):
            row += 1
        while row >= len(rows):
            rows.append([])
        rows[row].append(net)
        net.row = row
        placed.add(id(net))
    return len(rows)
