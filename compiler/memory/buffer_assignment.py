"""Buffer assignment: phases -> a buffer region for every value, and the buffers.

A buffer holds a value and all that lie in it (`aliasing.py`), from the first to the last phase that
needs one of them (`liveness.py`). Values that live within a step of a loop get memory for one step.
"""

from __future__ import annotations

from rnnc.compiler.ir.dataflow import Dataflow, Value
from rnnc.compiler.schedule.plan import Buffer, BufferExtent, BufferRegion, Phase

from .aliasing import find_aliases, resolve_alias
from .liveness import LiveRange, live_ranges, merge_live_ranges


def assign_buffers(
    dataflow: Dataflow, phases: tuple[Phase, ...]
) -> tuple[tuple[BufferRegion | None, ...], tuple[Buffer, ...]]:
    """Assign a region to each value that a phase computes; return regions by id, and buffers."""
    phase_of = {value_id: phase.id for phase in phases for value_id in phase.values}
    order = {n: i for i, n in enumerate(n for phase in phases for n in phase.values)}
    parents = find_aliases(dataflow, phase_of, order)
    ranges = live_ranges(dataflow, phases, phase_of)
    roots: dict[int, tuple[int, int]] = {}
    for value in dataflow.values:
        if value.id in phase_of:
            roots[value.id] = resolve_alias(parents, value.id)
    merged: dict[int, LiveRange] = {}
    widths: dict[int, int] = {}
    for value_id, (root, offset) in roots.items():
        merge_live_ranges(merged.setdefault(root, ranges[root]), ranges[value_id])
        widths[root] = max(widths.get(root, 0), offset + dataflow.values[value_id].size)
    buffer_ids: dict[int, int] = {}
    buffers: list[Buffer] = []
    for root in sorted(merged, key=order.__getitem__):
        live = merged[root]
        buffer_ids[root] = len(buffers)
        kind = phases[phase_of[root]].kind
        buffers.append(
            Buffer(
                len(buffers),
                widths[root],
                _infer_extent(dataflow.values[root], live, kind),
                live.steps_before,
                live.steps_after,
                live.first_phase,
                -1 if live.outlives_plan else live.last_phase,
                live.is_residual,
            )
        )
    regions = tuple(
        BufferRegion(buffer_ids[roots[v.id][0]], roots[v.id][1]) if v.id in roots else None
        for v in dataflow.values
    )
    return regions, tuple(buffers)


def _infer_extent(value: Value, live: LiveRange, kind: str) -> BufferExtent:
    if value.rate == "call":
        return "call"
    if value.rate == "row":
        return "row"
    if kind == "loop" and not live.is_series:
        return "step"
    return "series"
