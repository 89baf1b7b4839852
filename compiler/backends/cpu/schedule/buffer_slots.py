"""Which values of a pass share a place: slots in two blocks of memory, one kept for the other pass.

Settled once a program; what a slot is in bytes is known for each T and B (`geometry.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from rnnc.compiler.ir.dataflow import Value

from .frame_layout import FrameLayout
from .inplace_reuse import find_inplace_reuse
from .kernel_partition import CpuKernelGroup
from .launch_segments import CpuLaunch

RESIDUAL_BLOCK: Final = 0
"""The block that the backward pass reads, too."""

SCRATCH_BLOCK: Final = 1
"""The block that is gone with its pass."""

SlotExtent = Literal["call", "row", "series", "line", "result"]


@dataclass(frozen=True, slots=True)
class CpuBufferSlot:
    """Room for a value, or for several that are never needed at the same time.

    extent: `call` (one row), `row` (B rows), `series` (all rows of all steps), a `line` (all rows,
        with the history of a state or input in front and what is outside behind), or a `result`:
        all rows, in the tensor that the caller gets where that has its rows in the same order.
    name: of that state or input.
    """

    block: int
    stride: int
    extent: SlotExtent
    name: str = ""


@dataclass(frozen=True, slots=True)
class SlotAssignment:
    """The slots of a pass, and which one each value is in."""

    slots: tuple[CpuBufferSlot, ...]
    slot_of: dict[int, int]


def assign_slots(
    layout: FrameLayout,
    segments: tuple[CpuLaunch, ...],
    residuals: frozenset[int],
    forward: SlotAssignment | None,
) -> SlotAssignment:
    """Give every value of a pass its slot.

    residuals: the forward values that the backward pass reads.
    forward: the slots of the forward pass, for a backward one.
    """
    slots: list[CpuBufferSlot] = []
    slot_of: dict[int, int] = {}
    if forward is not None:
        slots += [slot for slot in forward.slots if slot.block == RESIDUAL_BLOCK]
        places = [index for index, slot in enumerate(forward.slots) if slot.block == RESIDUAL_BLOCK]
        slot_of = {n: places.index(at) for n, at in forward.slot_of.items() if at in places}
    for number in dict.fromkeys(n for segment in segments for n in segment.sources):
        if number not in slot_of and layout.needs_copy(number):
            slot_of[number] = len(slots)
            slots.append(_source_slot(layout, layout.flow.values[number]))
    last = _last_reads(layout, segments)
    units = [job for segment in segments for job in segment.jobs if isinstance(job, CpuKernelGroup)]
    stored = frozenset(number for _, number in _stores(layout, segments))
    heirs = find_inplace_reuse(layout, units, residuals, stored)
    places_of = {heir: number for number, heir in heirs.items()}
    free: dict[int, list[tuple[int, int]]] = {}
    for at, number in _stores(layout, segments):
        value, stride = layout.flow.values[number], layout.row_stride(number)
        until = max(last.get(number, at), at)
        if value.operation == "state":
            block = RESIDUAL_BLOCK if number in residuals else SCRATCH_BLOCK
            slot_of[number] = len(slots)
            slots.append(CpuBufferSlot(block, stride, "line", str(value.attributes[0])))
            continue
        if number in places_of:
            slot_of[number] = slot_of[places_of[number]]
            continue
        if number in residuals or number in heirs:
            slot_of[number] = len(slots)
            slots.append(CpuBufferSlot(RESIDUAL_BLOCK, stride, "series"))
            continue
        if number in layout.direct_results:
            slot_of[number] = len(slots)
            slots.append(CpuBufferSlot(SCRATCH_BLOCK, stride, "result"))
            continue
        # What is read at other steps keeps its row of zeros to itself.
        rests = free.setdefault(stride, []) if number not in layout.delayed_values else []
        found = next((rest for rest in rests if rest[0] < at), None)
        if found is not None:
            rests.remove(found)
        slot = len(slots) if found is None else found[1]
        if found is None:
            slots.append(CpuBufferSlot(SCRATCH_BLOCK, stride, "series"))
        if number not in layout.delayed_values:
            rests.append((until, slot))
        slot_of[number] = slot
    return SlotAssignment(tuple(slots), slot_of)


def _source_slot(layout: FrameLayout, value: Value) -> CpuBufferSlot:
    if value.rate == "call":
        # Shifted reads run over the end by less than one vector.
        return CpuBufferSlot(
            SCRATCH_BLOCK, layout.padded_width(value.shape[0]) + layout.lanes, "call"
        )
    stride = layout.row_stride(value.id)
    if value.rate == "row":
        return CpuBufferSlot(SCRATCH_BLOCK, stride, "row")
    line = value.operation == "input" and value.id in layout.delayed_values
    name = str(value.attributes[0]) if line else ""
    return CpuBufferSlot(SCRATCH_BLOCK, stride, "line" if line else "series", name)


def _stores(layout: FrameLayout, segments: tuple[CpuLaunch, ...]) -> Iterator[tuple[int, int]]:
    """What compiled code stores, by the job that does it."""
    jobs = [job for segment in segments for job in segment.jobs]
    for at, job in enumerate(jobs):
        if not isinstance(job, Value):
            for number in job.values:
                if number in layout.stored_values:
                    yield at, number


def _last_reads(layout: FrameLayout, segments: tuple[CpuLaunch, ...]) -> dict[int, int]:
    """The last job that reads a value; ATen and the results of a call read at any time."""
    values = layout.flow.values
    jobs = [job for segment in segments for job in segment.jobs]
    last: dict[int, int] = {}
    for at, job in enumerate(jobs):
        for number in (job.id,) if isinstance(job, Value) else job.values:
            last.update({read.value: at for read in values[number].operands})
    outside = [r.value for s in segments for n in s.aten_values for r in values[n].operands]
    last.update(dict.fromkeys((*outside, *layout.result_values), len(jobs)))
    return last
