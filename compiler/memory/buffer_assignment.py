"""Phases -> where every value is kept, and for how long.

A slice lies in its source, a state in the value that it takes, and the parts of a concatenation
side by side in it, wherever nothing forbids it; so do two concatenations, where one begins with the
parts that the other ends with. What only one step of a loop needs is overwritten by the next one.
"""

from __future__ import annotations

from rnnc.compiler.ir.dataflow import Dataflow, Value
from rnnc.compiler.schedule.plan import Buffer, BufferExtent, BufferRegion, Phase

from .aliasing import find_aliases, resolve_alias
from .liveness import LiveRange, live_ranges, merge_live_ranges


def assign_buffers(
    dataflow: Dataflow, phases: tuple[Phase, ...]
) -> tuple[tuple[BufferRegion | None, ...], tuple[Buffer, ...]]:
    """A place for each value that is computed, and the buffers that hold them."""
    phase_of = {n: phase.id for phase in phases for n in phase.values}
    order = {n: i for i, n in enumerate(n for phase in phases for n in phase.values)}
    parent = find_aliases(dataflow, phase_of, order)
    lives = live_ranges(dataflow, phases, phase_of)
    roots: dict[int, tuple[int, int]] = {}
    for value in dataflow.values:
        if value.id in phase_of:
            roots[value.id] = resolve_alias(parent, value.id)
    merged: dict[int, LiveRange] = {}
    widths: dict[int, int] = {}
    for number, (root, start) in roots.items():
        merge_live_ranges(merged.setdefault(root, lives[root]), lives[number])
        widths[root] = max(widths.get(root, 0), start + dataflow.values[number].size)
    numbers: dict[int, int] = {}
    buffers: list[Buffer] = []
    for root in sorted(merged, key=order.__getitem__):
        value, life = dataflow.values[root], merged[root]
        numbers[root] = len(buffers)
        kind = phases[phase_of[root]].kind
        buffers.append(
            Buffer(
                len(buffers),
                widths[root],
                _infer_extent(value, life, kind),
                life.steps_before,
                life.steps_after,
                life.first_phase,
                -1 if life.outlives_plan else life.last_phase,
                life.is_residual,
            )
        )
    places = tuple(
        BufferRegion(numbers[roots[v.id][0]], roots[v.id][1]) if v.id in roots else None
        for v in dataflow.values
    )
    return places, tuple(buffers)


def _infer_extent(value: Value, life: LiveRange, kind: str) -> BufferExtent:
    if value.rate == "call":
        return "call"
    if value.rate == "row":
        return "row"
    if kind == "loop" and not life.is_series:
        return "step"
    return "series"
