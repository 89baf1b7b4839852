"""Phases -> where every value is kept, and for how long.

A slice lies in its source, a state in the value that it takes, and the parts of a concatenation
side by side in it, wherever nothing forbids it; so do two concatenations, where one begins with the
parts that the other ends with. What only one step of a loop needs is overwritten by the next one.
"""

from __future__ import annotations

from dataclasses import dataclass

from .flow import BOUNDED, Flow, Read, Value
from .plan import Buffer, Extent, Phase, Place

_GIVEN = frozenset({"parameter", "constant", "mask", "input", "seed"})
"""Values that come with the call; inputs and seeds get a buffer only where they are shifted."""


@dataclass(slots=True)
class _Lives:
    """The phases between which a value is needed, and the margins of its series."""

    first: int
    last: int
    before: int = 0
    after: int = 0
    series: bool = False
    saved: bool = False
    outlives: bool = False


def place(
    flow: Flow, phases: tuple[Phase, ...]
) -> tuple[tuple[Place | None, ...], tuple[Buffer, ...]]:
    """A place for each value that is computed, and the buffers that hold them."""
    phase_of = {n: phase.number for phase in phases for n in phase.values}
    order = {n: i for i, n in enumerate(n for phase in phases for n in phase.values)}
    parent = _parents(flow, phase_of, order)
    lives = _lifetimes(flow, phases, phase_of)
    roots: dict[int, tuple[int, int]] = {}
    for value in flow.values:
        if value.number in phase_of:
            roots[value.number] = _root(parent, value.number)
    merged: dict[int, _Lives] = {}
    widths: dict[int, int] = {}
    for number, (root, start) in roots.items():
        _merge(merged.setdefault(root, lives[root]), lives[number])
        widths[root] = max(widths.get(root, 0), start + flow.values[number].size)
    numbers: dict[int, int] = {}
    buffers: list[Buffer] = []
    for root in sorted(merged, key=order.__getitem__):
        value, life = flow.values[root], merged[root]
        numbers[root] = len(buffers)
        kind = phases[phase_of[root]].kind
        buffers.append(
            Buffer(
                len(buffers),
                widths[root],
                _extent(value, life, kind),
                life.before,
                life.after,
                life.first,
                -1 if life.outlives else life.last,
                life.saved,
            )
        )
    places = tuple(
        Place(numbers[roots[v.number][0]], roots[v.number][1]) if v.number in roots else None
        for v in flow.values
    )
    return places, tuple(buffers)


def _extent(value: Value, life: _Lives, kind: str) -> Extent:
    if value.rate == "call":
        return "call"
    if value.rate == "row":
        return "row"
    if kind == "loop" and not life.series:
        return "step"
    return "series"


def _parents(
    flow: Flow, phase_of: dict[int, int], order: dict[int, int]
) -> dict[int, tuple[int, int]]:
    """For a value that lies in another one: that one, and from which entry on."""
    parent: dict[int, tuple[int, int]] = {}
    owned: set[int] = set()
    for number in order:
        value = flow.values[number]
        if value.operation == "slice":
            source = value.operands[0]
            if not source.delay and source.value in phase_of and value.rate != "call":
                parent[number] = (source.value, int(value.attributes[0]))
        elif value.operation == "state":
            source = value.operands[0]
            if _can_move(flow, phase_of, parent, owned, number, source.value, source.delay):
                parent[source.value] = (number, 0)
                owned.add(source.value)
        elif value.operation == "concatenate" and value.rate == "step":
            longer = _prolonged(flow, parent, owned, value)
            if longer is not None:
                parent[number] = longer
                # It lies at the end of its buffer, so it is in no other concatenation, nor another
                # one behind it.
                owned.add(longer[0])
            start = 0
            for source in value.operands:
                if _can_move(flow, phase_of, parent, owned, number, source.value, source.delay):
                    parent[source.value] = (number, start)
                    owned.add(source.value)
                start += flow.values[source.value].size
    return parent


def _prolonged(
    flow: Flow, parent: dict[int, tuple[int, int]], owned: set[int], value: Value
) -> tuple[int, int] | None:
    """A concatenation that ends with what a value begins with, and from which entry on."""
    first = value.operands[0]
    if first.delay or first.value not in parent:
        return None
    other, start = parent[first.value]
    whole = flow.values[other]
    if (
        whole.operation != "concatenate"
        or other in parent
        or other in owned
        or (whole.adjoint, whole.rate) != (value.adjoint, value.rate)
        or first not in whole.operands
    ):
        return None
    shared = whole.operands[whole.operands.index(first) :]
    if value.operands[: len(shared)] != shared or len(shared) == len(value.operands):
        return None
    at = start
    for read in shared:
        if read.delay or parent.get(read.value) != (other, at):
            return None
        at += flow.values[read.value].size
    return other, start


def _can_move(
    flow: Flow,
    phase_of: dict[int, int],
    parent: dict[int, tuple[int, int]],
    owned: set[int],
    into: int,
    number: int,
    delay: int,
) -> bool:
    """Whether a value may be computed right where a state or concatenation wants it."""
    value = flow.values[number]
    return (
        not delay
        and value.rate == "step"
        and value.operation not in _GIVEN | {"slice", "state"}
        and number not in parent
        and number not in owned
        and _is_near(flow, phase_of, number, into)
        and flow.values[into].rate == "step"
        and (flow.values[into].operation == "concatenate" or not _is_shifted(flow, number))
    )


def _is_near(flow: Flow, phase_of: dict[int, int], number: int, into: int) -> bool:
    """Whether both are of one phase; a concatenation may also collect from earlier ones."""
    if flow.values[into].operation == "concatenate":
        return number in phase_of and flow.values[number].adjoint == flow.values[into].adjoint
    return phase_of.get(number) == phase_of[into]


def _is_shifted(flow: Flow, number: int) -> bool:
    """Whether a value is read at another time: a state's history does not belong to it."""
    return any(
        read.delay
        for reader in flow.readers[number]
        for read in flow.values[reader].operands
        if read.value == number
    )


def _root(parent: dict[int, tuple[int, int]], number: int) -> tuple[int, int]:
    start = 0
    while number in parent:
        number, offset = parent[number]
        start += offset
    return number, start


def _lifetimes(flow: Flow, phases: tuple[Phase, ...], phase_of: dict[int, int]) -> list[_Lives]:
    lives = [
        _Lives(phase_of.get(v.number, 0), phase_of.get(v.number, 0), series=_is_outside(phases, v))
        for v in flow.values
    ]
    for value in flow.values:
        home = phase_of.get(value.number)
        if home is None:
            continue
        for read in value.operands:
            life, source = lives[read.value], flow.values[read.value]
            life.last = max(life.last, home)
            if phase_of.get(read.value) != home or read.delay:
                life.series = True
            if value.adjoint and not source.adjoint:
                life.saved = True
            _widen(life, source, read)
    for state in flow.graph.states:
        number = flow.numbers["state", state.name]
        lives[number].series = True
        lives[number].outlives = True
        lives[number].before = max(0, state.delay)
    for read in flow.results:
        lives[read.value].series = lives[read.value].outlives = True
        _widen(lives[read.value], flow.values[read.value], read)
    for gradient in flow.gradients:
        if gradient.value >= 0:
            lives[gradient.value].series = lives[gradient.value].outlives = True
    return lives


def _widen(life: _Lives, source: Value, read: Read) -> None:
    """Give a series the margins that a read of it at another step reaches into."""
    if read.delay < 0:
        life.after = max(life.after, -read.delay)
    elif source.operation not in BOUNDED:
        life.before = max(life.before, read.delay)


def _is_outside(phases: tuple[Phase, ...], value: Value) -> bool:
    return value.operation in {"to_history", "to_initial"}


def _merge(into: _Lives, other: _Lives) -> None:
    into.first = min(into.first, other.first)
    into.last = max(into.last, other.last)
    into.before = max(into.before, other.before)
    into.after = max(into.after, other.after)
    into.series |= other.series
    into.saved |= other.saved
    into.outlives |= other.outlives
