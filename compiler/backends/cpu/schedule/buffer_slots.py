"""Which values of a pass share a place: slots in two blocks of memory, one kept for the other pass.

Settled once a program; what a slot is in bytes is known for each T and B (`geometry.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from rnnc.compiler.ir.dataflow import Value

from .frame_layout import Layout
from .inplace_reuse import heirs_of
from .kernel_partition import Unit
from .launch_segments import Segment

SAVED: Final = 0
"""The block that the backward pass reads, too."""

SCRATCH: Final = 1
"""The block that is gone with its pass."""

Extent = Literal["call", "row", "series", "line", "result"]


@dataclass(frozen=True, slots=True)
class Slot:
    """Room for a value, or for several that are never needed at the same time.

    extent: `call` (one row), `row` (B rows), `series` (all rows of all steps), a `line` (all rows,
        with the history of a state or input in front and what is outside behind), or a `result`:
        all rows, in the tensor that the caller gets where that has its rows in the same order.
    name: of that state or input.
    """

    block: int
    stride: int
    extent: Extent
    name: str = ""


@dataclass(frozen=True, slots=True)
class Memory:
    """The slots of a pass, and which one each value is in."""

    slots: tuple[Slot, ...]
    slot_of: dict[int, int]


def memory_of(
    layout: Layout, segments: tuple[Segment, ...], saved: frozenset[int], kept: Memory | None
) -> Memory:
    """Give every value of a pass its slot.

    saved: the forward values that the backward pass reads.
    kept: the slots of the forward pass, for a backward one.
    """
    slots: list[Slot] = []
    slot_of: dict[int, int] = {}
    if kept is not None:
        slots += [slot for slot in kept.slots if slot.block == SAVED]
        places = [index for index, slot in enumerate(kept.slots) if slot.block == SAVED]
        slot_of = {n: places.index(at) for n, at in kept.slot_of.items() if at in places}
    for number in dict.fromkeys(n for segment in segments for n in segment.sources):
        if number not in slot_of and layout.is_copied(number):
            slot_of[number] = len(slots)
            slots.append(_of_source(layout, layout.flow.values[number]))
    last = _last_readers(layout, segments)
    units = [job for segment in segments for job in segment.compiled if isinstance(job, Unit)]
    stored = frozenset(number for _, number in _stored(layout, segments))
    heirs = heirs_of(layout, units, saved, stored)
    places_of = {heir: number for number, heir in heirs.items()}
    free: dict[int, list[tuple[int, int]]] = {}
    for at, number in _stored(layout, segments):
        value, stride = layout.flow.values[number], layout.stride(number)
        until = max(last.get(number, at), at)
        if value.operation == "state":
            block = SAVED if number in saved else SCRATCH
            slot_of[number] = len(slots)
            slots.append(Slot(block, stride, "line", str(value.attributes[0])))
            continue
        if number in places_of:
            slot_of[number] = slot_of[places_of[number]]
            continue
        if number in saved or number in heirs:
            slot_of[number] = len(slots)
            slots.append(Slot(SAVED, stride, "series"))
            continue
        if number in layout.handed:
            slot_of[number] = len(slots)
            slots.append(Slot(SCRATCH, stride, "result"))
            continue
        # What is read at other steps keeps its row of zeros to itself.
        rests = free.setdefault(stride, []) if number not in layout.delayed else []
        found = next((rest for rest in rests if rest[0] < at), None)
        if found is not None:
            rests.remove(found)
        slot = len(slots) if found is None else found[1]
        if found is None:
            slots.append(Slot(SCRATCH, stride, "series"))
        if number not in layout.delayed:
            rests.append((until, slot))
        slot_of[number] = slot
    return Memory(tuple(slots), slot_of)


def _of_source(layout: Layout, value: Value) -> Slot:
    if value.rate == "call":
        # Shifted reads run over the end by less than one vector.
        return Slot(SCRATCH, layout.padded(value.shape[0]) + layout.lanes, "call")
    stride = layout.stride(value.number)
    if value.rate == "row":
        return Slot(SCRATCH, stride, "row")
    line = value.operation == "input" and value.number in layout.delayed
    name = str(value.attributes[0]) if line else ""
    return Slot(SCRATCH, stride, "line" if line else "series", name)


def _stored(layout: Layout, segments: tuple[Segment, ...]) -> Iterator[tuple[int, int]]:
    """What compiled code stores, by the job that does it."""
    jobs = [job for segment in segments for job in segment.compiled]
    for at, job in enumerate(jobs):
        if not isinstance(job, Value):
            for number in job.values:
                if number in layout.stored:
                    yield at, number


def _last_readers(layout: Layout, segments: tuple[Segment, ...]) -> dict[int, int]:
    """The last job that reads a value; ATen and the results of a call read at any time."""
    values = layout.flow.values
    jobs = [job for segment in segments for job in segment.compiled]
    last: dict[int, int] = {}
    for at, job in enumerate(jobs):
        for number in (job.number,) if isinstance(job, Value) else job.values:
            last.update({read.value: at for read in values[number].operands})
    outside = [r.value for s in segments for n in s.outside for r in values[n].operands]
    last.update(dict.fromkeys((*outside, *layout.results), len(jobs)))
    return last
