"""Buffer slots: values of a pass whose live ranges do not overlap share one.

Linear scan over the jobs of a pass, first slot of equal stride that is free. Slots lie in two
blocks, of which the backward pass takes one over. Settled once a program; byte offsets depend on T
and B (`specialize/shape_specialization.py`).
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
"""The block that is free again after its pass."""

SlotExtent = Literal["call", "row", "series", "line", "result"]


@dataclass(frozen=True, slots=True)
class CpuBufferSlot:
    """Room for values that are never needed at the same time.

    extent: `call` (one row), `row` (B rows), `series` (all rows of all steps), `line` (all rows,
        with the carry of a state or input in front and boundary values behind), or `result`: all
        rows, in the caller's tensor where that has its rows in the same order.
    name: of that state or input.
    """

    block: int
    stride: int
    extent: SlotExtent
    name: str = ""


@dataclass(frozen=True, slots=True)
class SlotAssignment:
    """The slots of a pass, and the slot of each value by its id."""

    slots: tuple[CpuBufferSlot, ...]
    slot_of: dict[int, int]


def assign_slots(
    layout: FrameLayout,
    launches: tuple[CpuLaunch, ...],
    residuals: frozenset[int],
    forward: SlotAssignment | None,
) -> SlotAssignment:
    """Assign a slot to every value of a pass that is in memory.

    residuals: forward values that the backward pass reads; empty for the backward pass.
    forward: the slots of the forward pass, for a backward one.
    """
    slots: list[CpuBufferSlot] = []
    slot_of: dict[int, int] = {}

    def add_slot(value_id: int, slot: CpuBufferSlot) -> None:
        slot_of[value_id] = len(slots)
        slots.append(slot)

    if forward is not None:
        taken_over = [i for i, slot in enumerate(forward.slots) if slot.block == RESIDUAL_BLOCK]
        slots += [forward.slots[index] for index in taken_over]
        slot_of = {
            value_id: taken_over.index(slot)
            for value_id, slot in forward.slot_of.items()
            if slot in taken_over
        }
    for value_id in dict.fromkeys(source for launch in launches for source in launch.sources):
        if value_id not in slot_of and layout.needs_copy(value_id):
            add_slot(value_id, _source_slot(layout, layout.flow.values[value_id]))
    last_read = _last_reads(layout, launches)
    groups = [job for launch in launches for job in launch.jobs if isinstance(job, CpuKernelGroup)]
    stored = frozenset(value_id for _, value_id in _stores(layout, launches))
    reuse = find_inplace_reuse(layout, groups, residuals, stored)
    reused_source = {result: source for source, result in reuse.items()}
    # By stride: the job after which a slot is free, and the slot.
    free: dict[int, list[tuple[int, int]]] = {}
    for position, value_id in _stores(layout, launches):
        value, stride = layout.flow.values[value_id], layout.row_stride(value_id)
        if value.operation == "state":
            block = RESIDUAL_BLOCK if value_id in residuals else SCRATCH_BLOCK
            add_slot(value_id, CpuBufferSlot(block, stride, "line", str(value.attributes[0])))
        elif value_id in reused_source:
            slot_of[value_id] = slot_of[reused_source[value_id]]
        elif value_id in residuals or value_id in reuse:
            add_slot(value_id, CpuBufferSlot(RESIDUAL_BLOCK, stride, "series"))
        elif value_id in layout.direct_results:
            add_slot(value_id, CpuBufferSlot(SCRATCH_BLOCK, stride, "result"))
        elif value_id in layout.delayed_values:
            # The row of zeros behind it, which other steps read, must stay zero: no sharing.
            add_slot(value_id, CpuBufferSlot(SCRATCH_BLOCK, stride, "series"))
        else:
            idle = free.setdefault(stride, [])
            reusable = next((entry for entry in idle if entry[0] < position), None)
            if reusable is None:
                add_slot(value_id, CpuBufferSlot(SCRATCH_BLOCK, stride, "series"))
            else:
                idle.remove(reusable)
                slot_of[value_id] = reusable[1]
            end = max(last_read.get(value_id, position), position)
            idle.append((end, slot_of[value_id]))
    return SlotAssignment(tuple(slots), slot_of)


def _source_slot(layout: FrameLayout, value: Value) -> CpuBufferSlot:
    if value.rate == "call":
        # Shifted loads run over the end by less than one vector.
        width = layout.padded_width(value.shape[0]) + layout.lanes
        return CpuBufferSlot(SCRATCH_BLOCK, width, "call")
    stride = layout.row_stride(value.id)
    if value.rate == "row":
        return CpuBufferSlot(SCRATCH_BLOCK, stride, "row")
    if value.operation == "input" and value.id in layout.delayed_values:
        return CpuBufferSlot(SCRATCH_BLOCK, stride, "line", str(value.attributes[0]))
    return CpuBufferSlot(SCRATCH_BLOCK, stride, "series")


def _stores(layout: FrameLayout, launches: tuple[CpuLaunch, ...]) -> Iterator[tuple[int, int]]:
    """Yield the position of a job and the id of a value that it stores, in order."""
    jobs = [job for launch in launches for job in launch.jobs]
    for position, job in enumerate(jobs):
        if not isinstance(job, Value):
            for value_id in job.values:
                if value_id in layout.stored_values:
                    yield position, value_id


def _last_reads(layout: FrameLayout, launches: tuple[CpuLaunch, ...]) -> dict[int, int]:
    """Map values to the last job that reads them; ATen and the caller count as the end."""
    values = layout.flow.values
    jobs = [job for launch in launches for job in launch.jobs]
    last_read: dict[int, int] = {}
    for position, job in enumerate(jobs):
        for value_id in (job.id,) if isinstance(job, Value) else job.values:
            last_read.update({operand.value: position for operand in values[value_id].operands})
    aten_operands = [
        operand.value
        for launch in launches
        for value_id in launch.aten_values
        for operand in values[value_id].operands
    ]
    last_read.update(dict.fromkeys((*aten_operands, *layout.result_values), len(jobs)))
    return last_read
