"""Phases -> where every value is kept, and for how long.

A slice lies in its source, a state in the value that it takes, and the parts of a concatenation
side by side in it, wherever nothing forbids it; so do two concatenations, where one begins with the
parts that the other ends with. What only one step of a loop needs is overwritten by the next one.
"""

from __future__ import annotations

from rnnc.compiler.ir.dataflow import Flow, Value
from rnnc.compiler.schedule.plan import Buffer, Extent, Phase, Place

from .aliasing import _parents, _root
from .liveness import _lifetimes, _Lives, _merge


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
