"""Segments of one row: which steps belong together, and the state before the first one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from support.second_oracle.values import Array


@dataclass(frozen=True)
class RowArguments:
    """One row of a call.

    inputs: by name, a list of T vectors, or of T symbols (−1: none).
    resets: T times whether a new segment starts before that step.
    state: what an earlier call left, by name of state or input: the values of the last steps,
        oldest first; None when the row begins here.
    age: how many steps before the first one belong to the segment that goes on there.
    """

    inputs: Mapping[str, list[Array] | list[int]]
    resets: list[bool]
    state: Mapping[str, list[Array] | list[int]] | None = None
    age: int = 0

    @property
    def steps(self) -> int:
        """T."""
        return len(self.resets)


@dataclass(frozen=True)
class Tangents:
    """One direction, by the same names as the values; missing ones are zero."""

    parameters: Mapping[str, Array] = field(default_factory=dict)
    inputs: Mapping[str, list[Array]] = field(default_factory=dict)
    state: Mapping[str, list[Array]] = field(default_factory=dict)


@dataclass(frozen=True)
class RowResult:
    """Results of one row of a call; `tangents` holds the derivatives along the direction.

    outputs: by name (`x'` for a predicted input), T vectors, or one for an output at the end.
    state: by name of state or input, what the next call goes on from, oldest first; empty for a
        model that runs backward. Where nothing was carried in, as far back as the text reads.
    age: how many steps the segment of the next call has had.
    laws: for each law in the text T times the mean squared difference of its sides.
    losses: for each `loss` line T values, without the weight; None where its target is not given.
    """

    outputs: dict[str, list[Array] | Array]
    state: dict[str, list[Array] | list[int]]
    age: int
    laws: list[list[float]]
    losses: list[list[float] | None]
    law_weights: list[float]
    loss_weights: list[float]
    tangents: RowResult | None = None


class Segments:
    """The start and end of each step's segment."""

    def __init__(self, row: RowArguments) -> None:
        self._resets, self.steps, self._age = row.resets, row.steps, row.age

    def start(self, t: int) -> int | None:
        """Return the first step of t's segment; None if it began before or with this call."""
        return next((s for s in range(t, -1, -1) if self._resets[s]), None)

    def end(self, t: int) -> int:
        """Return the step after t's segment."""
        return next((s for s in range(t + 1, self.steps) if self._resets[s]), self.steps)

    def contains(self, t: int, source: int) -> bool:
        """Test that a step, possibly before this call, is in t's segment."""
        start = self.start(t)
        return source < self.end(t) and (start is None or source >= start)

    def has_row(self, t: int, source: int) -> bool:
        """Test that a step exists in t's segment, so that a window has a row for it."""
        return self.contains(t, source) and source >= -self._age

    def age(self) -> int:
        """Return the length of the last segment."""
        start = self.start(self.steps - 1) if self.steps else None
        return self.steps - start if start is not None else self._age + self.steps
