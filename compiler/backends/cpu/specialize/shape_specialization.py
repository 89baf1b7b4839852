"""A pass for one T and B (and lengths): where every value lies, and the jobs of compiled code."""

from __future__ import annotations

import ctypes
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Final

from rnnc.compiler.backends.cpu.schedule.buffer_slots import SCRATCH_BLOCK, CpuBufferSlot
from rnnc.compiler.backends.cpu.schedule.gemm_candidates import (
    GemmAlternative,
    GemmDestination,
    KernelRange,
    LibraryWeightGrads,
    LibraryWork,
)
from rnnc.compiler.backends.cpu.schedule.kernel_partition import CpuKernelGroup
from rnnc.compiler.backends.cpu.schedule.weight_grad_groups import (
    WeightGradGroup,
    group_weight_grads,
)
from rnnc.compiler.ir.dataflow import Operand, Value

from .packed_sequence import PackedSequence
from .weight_grad_blocking import packing_size

if TYPE_CHECKING:
    from .compiled_program import CompiledProgram

UNIT, OUTER, TOTAL, ZERO, INDEXED = 1, 2, 3, 4, 5
"""Kinds of jobs (`calls.h`)."""

MIN_POOLED_NUMBERS = 1 << 20
"""Numbers of a scratch block from which it is kept for the next pass."""

MIN_ROWS_TO_PACK = 33
"""Rows of all steps from which packing matrices costs less than it saves."""

MIN_WORK_TO_AUTOTUNE = 50_000_000
"""Multiplications from which it is worth a call of its own to have torch take a product."""

ALL_KERNELS: Final = 1 << 30
"""More than a unit has."""

MIN_WORK_TO_THREAD = 1_000_000
"""Multiplications below which starting a second thread costs more than it saves."""

MIN_ADDS_TO_THREAD = 250_000
"""The same in additions, whose operands come from memory."""

MIN_WEIGHTS_TO_SPLIT_COLUMNS = 500_000
"""Weights of a step from which threads that share it save more than their waiting costs."""

MIN_ROWS_PER_TEAM = 32
"""Rows that make up for reading so many weights from memory at every step."""


@dataclass(frozen=True, slots=True)
class CpuBufferRegion:
    """Rows of a block of memory; `rows_before` is the row of the first step. In numbers, not bytes."""

    block: int
    start: int
    rows: int
    stride: int
    rows_before: int

    @property
    def first_offset(self) -> int:
        """Where the first row of the first step lies."""
        return self.start + self.rows_before * self.stride


@dataclass(frozen=True, slots=True)
class SourceBindings:
    """How the sources of a segment are bound; parameters, which are most of them, at little cost.

    matrices: value and parameter, read where it lies.
    vectors: value and parameter, its place in the scratch block, its bytes, those of the place.
    """

    matrices: tuple[tuple[int, str], ...]
    vectors: tuple[tuple[int, str, int, int, int], ...]
    others: tuple[int, ...]


WorkItem = (
    tuple[int, ...]
    | KernelRange
    | WeightGradGroup
    | LibraryWeightGrads
    | GemmDestination
    | GemmAlternative
)
"""Work: numbers of a job, some of a unit's stages, sums, what torch does, or one of two ways."""

LaunchStep = ctypes.Array[ctypes.c_int64] | GemmDestination | LibraryWeightGrads
"""A table of jobs, or what torch does."""


class ShapeSpecialization:
    """Everything about a pass that is the same for all calls with these rows and threads."""

    def __init__(
        self, program: CompiledProgram, rows: PackedSequence, threads: int, *, adjoint: bool
    ) -> None:
        self.program, self.sequence, self.threads, self.adjoint = program, rows, threads, adjoint
        self.layout = program.layout
        self.launches = program.launches(adjoint=adjoint)
        self.slot_assignment = program.slot_assignment(adjoint=adjoint)
        self.itemsize = 8 if program.double else 4
        self.regions: dict[int, CpuBufferRegion] = {}
        """By value."""
        self.tuned_steps: dict[int, tuple[LaunchStep, ...]] = {}
        """By segment: how its work is done."""
        self.direct_results: tuple[int, ...] = ()
        """Results that are computed in tensors of their own."""
        self.block_sizes = self._assign_regions()
        """How many numbers each block holds."""
        tables = [rows.row_index(key).data_ptr() for key in self.layout.row_indices]
        self._index_pointers = (ctypes.c_void_p * max(1, len(tables)))(*tables)
        flat = [
            x
            for number, place in self.regions.items()
            for x in (number, place.block, *self._byte_bounds(place))
        ]
        self._region_table = (ctypes.c_int64 * max(1, len(flat)))(*flat)
        self.call_header = (
            *(size * self.itemsize for size in self.block_sizes),
            self.workspace_offset * self.itemsize,
            ctypes.addressof(self._region_table),
            len(self.regions),
            ctypes.addressof(self._index_pointers),
            rows.batch_index_int32.data_ptr(),
            rows.step_offsets.data_ptr(),
            rows.steps,
            rows.batch_size,
            rows.row_count,
        )
        """What a call is told, behind the addresses of its blocks (`calls.h`)."""

    def _byte_bounds(self, place: CpuBufferRegion) -> tuple[int, int, int]:
        end = place.start + place.rows * place.stride
        return place.first_offset * self.itemsize, place.start * self.itemsize, end * self.itemsize

    def _assign_regions(self) -> tuple[int, int]:
        sizes, line = [0, 0], 64 // self.itemsize
        seen = [0, 0]
        found: list[CpuBufferRegion] = []
        for slot in self.slot_assignment.slots:
            # Slots of equal size would begin at equal distances from a page's start, and what is
            # stored to one would seem to hit what is loaded from another. The gap catches errors.
            start = sizes[slot.block] + line * (1 + 9 * seen[slot.block] % 16)
            seen[slot.block] += 1
            before, count = self._slot_rows(slot)
            found.append(CpuBufferRegion(slot.block, start, count, slot.stride, before))
            sizes[slot.block] = -(-(start + count * slot.stride) // line) * line
        self.regions.update({n: found[at] for n, at in self.slot_assignment.slot_of.items()})
        if self.sequence.is_dense:
            slots = self.slot_assignment.slots
            slot_of = self.slot_assignment.slot_of.items()
            self.direct_results = tuple(n for n, at in slot_of if slots[at].extent == "result")
            for number in self.direct_results:
                del self.regions[number]
        self.workspace_offset = sizes[SCRATCH_BLOCK]
        sizes[SCRATCH_BLOCK] += self._workspace_size()
        return sizes[0], sizes[1]

    def _slot_rows(self, slot: CpuBufferSlot) -> tuple[int, int]:
        """Rows in front of the first step's, and rows in all."""
        rows = self.sequence
        match slot.extent:
            case "call":
                return 0, 1
            case "row":
                return 0, rows.batch_size + 1
            case "series":
                return 0, rows.row_count + 1
            case "result":
                return 0, 0 if rows.is_dense else rows.row_count + 1
        before = self.program.carry_lengths[slot.name] * rows.batch_size
        draws = (
            len(rows.reset_positions)
            if slot.name in self.program.random_states and rows.resets is not None
            else 0
        )
        return before, before + rows.row_count + rows.batch_size + draws + 1

    @property
    def _packs_weights(self) -> bool:
        """Whether there are rows enough for packed matrices."""
        return self.sequence.row_count >= MIN_ROWS_TO_PACK

    def _workspace_size(self) -> int:
        """Room for packed matrices, or for the blocks of a sum: one after the other needs it."""
        most = 0
        for segment in self.launches:
            for job in group_weight_grads(segment.jobs):
                if isinstance(job, CpuKernelGroup):
                    if self._packs_weights:
                        most = max(most, self.program.packed_sizes[job.index])
                elif isinstance(job, WeightGradGroup):
                    most = max(most, self.threads * self._packing_size(job))
        return most

    def _packing_size(self, group: WeightGradGroup) -> int:
        """How many numbers a thread packs at a time for a sum of outer products."""
        widths = [self.layout.flow.values[read.value].shape[0] for read in group.right]
        columns = self.program.emitter.tile_vectors * self.layout.lanes
        return packing_size(widths, columns, self.sequence.row_count)

    @cached_property
    def scratch_size(self) -> int:
        """How many numbers the scratch block is given: a backward pass takes it over."""
        size = self.block_sizes[SCRATCH_BLOCK]
        if self.adjoint or size < MIN_POOLED_NUMBERS or not self.sequence.is_uniform:
            return size
        behind = self.program.launches(adjoint=True)
        if not behind:
            return size
        other = self.program.specialization(self.sequence, self.threads, adjoint=True)
        return max(size, other.block_sizes[SCRATCH_BLOCK])

    @cached_property
    def source_bindings(self) -> tuple[SourceBindings, ...]:
        """For each segment how its sources are bound."""
        return tuple(self._plan_binding(segment.sources) for segment in self.launches)

    def _plan_binding(self, sources: tuple[int, ...]) -> SourceBindings:
        matrices: list[tuple[int, str]] = []
        vectors: list[tuple[int, str, int, int, int]] = []
        others: list[int] = []
        for number in sources:
            value = self.layout.flow.values[number]
            if value.operation != "parameter" or len(value.shape) > 2:
                others.append(number)
            elif len(value.shape) == 2:
                matrices.append((number, str(value.attributes[0])))
            else:
                place, width = self.regions[number], value.shape[0] * self.itemsize
                spot = (place.first_offset * self.itemsize, width, place.stride * self.itemsize)
                vectors.append((number, str(value.attributes[0]), *spot))
        return SourceBindings(tuple(matrices), tuple(vectors), tuple(others))

    @cached_property
    def work_items(self) -> tuple[tuple[WorkItem, ...], ...]:
        """For each segment its work, in order."""
        zeros = [
            number
            for number, place in self.regions.items()
            if number in self.layout.delayed_values
            if place.block == SCRATCH_BLOCK or not self.adjoint
        ]
        found: list[tuple[WorkItem, ...]] = []
        for segment in self.launches:
            atoms: list[WorkItem] = []
            if segment.jobs:
                atoms += [tuple(self._zero_fill_job(number)) for number in zeros]
                zeros = []
            for job in group_weight_grads(segment.jobs):
                if isinstance(job, CpuKernelGroup):
                    atoms += self._group_items(job)
                elif isinstance(job, WeightGradGroup):
                    atoms.append(self._weight_grad_item(job))
                elif job.operation == "total":
                    atoms.append(tuple(self._row_sum_job(job)))
                else:
                    atoms.append(tuple(self._indexed_sum_job(job)))
            found.append(tuple(atoms))
        return tuple(found)

    def assemble_steps(self, work_items: Iterable[WorkItem]) -> tuple[LaunchStep, ...]:
        """Work as tables of jobs, each as long as can be, and what torch does between them."""
        steps: list[LaunchStep] = []
        numbers: list[int] = []
        waiting: KernelRange | None = None

        def flush() -> None:
            nonlocal waiting
            if waiting is not None:
                numbers.extend(self._kernel_group_job(waiting))
                waiting = None

        def close() -> None:
            flush()
            if numbers:
                steps.append((ctypes.c_int64 * len(numbers))(*numbers))
                numbers.clear()

        for atom in work_items:
            assert not isinstance(atom, GemmAlternative)
            if isinstance(atom, KernelRange):
                if waiting is not None and waiting.group is atom.group and not atom.gemm_done:
                    waiting = replace(waiting, last=atom.last)
                else:
                    flush()
                    waiting = atom
            elif isinstance(atom, GemmDestination | LibraryWeightGrads):
                close()
                steps.append(atom)
            else:
                flush()
                numbers.extend(
                    self._weight_grad_job(atom) if isinstance(atom, WeightGradGroup) else atom
                )
        close()
        return tuple(steps)

    def _group_items(self, unit: CpuKernelGroup) -> list[WorkItem]:
        """A unit, whole, or with the stages that torch may help at."""
        atoms: list[WorkItem] = []
        done = 0
        for wide in self.program.library_candidates.get(unit.index, ()):
            if self.sequence.row_count * wide.row_work < MIN_WORK_TO_AUTOTUNE:
                continue
            if wide.kernel_index > done:
                atoms.append(KernelRange(unit, done, wide.kernel_index))
            done = wide.kernel_index + 1
            own = KernelRange(unit, wide.kernel_index, done)
            theirs: LibraryWork = wide.destinations
            if not wide.covers_kernel:
                theirs = (*theirs, replace(own, gemm_done=True))
            atoms.append(GemmAlternative(self._autotune_key(wide.name), own, theirs))
        if done < ALL_KERNELS:
            atoms.append(KernelRange(unit, done, ALL_KERNELS))
        return atoms

    def _weight_grad_item(self, group: WeightGradGroup) -> WorkItem:
        values = self.layout.flow.values
        work = self.sequence.row_count * sum(
            value.shape[0] * value.shape[1] for value in group.sums
        )
        if work < MIN_WORK_TO_AUTOTUNE:
            return group
        left, right = (
            "+".join(str(values[read.value].shape[0]) for read in side)
            for side in (group.left, group.right)
        )
        back = " delayed" if any(read.delay for read in (*group.left, *group.right)) else ""
        return GemmAlternative(
            self._autotune_key(f"sums {left} by {right}{back}"), group, (LibraryWeightGrads(group),)
        )

    def _autotune_key(self, name: str) -> str:
        """What tells sizes apart that may take differently long."""
        kind = f"{'f64' if self.program.double else 'f32'} {self.program.isa}"
        most = 1 << self.sequence.row_count.bit_length()
        plain = "" if self.sequence.is_uniform else ", packed"
        return f"{kind}, {self.threads} threads, below {most} rows{plain}: {name}"

    def _zero_fill_job(self, number: int) -> list[int]:
        """What is read outside of the series; initial values are copied to a state's own rows."""
        place, value = self.regions[number], self.layout.flow.values[number]
        state = value.operation == "state"
        first = place.rows - place.rows_before - 1 if state else self.sequence.row_count
        count = place.rows - place.rows_before - first
        return [
            ZERO,
            5,
            number,
            first * place.stride * self.itemsize,
            count * place.stride * self.itemsize,
        ]

    def _kernel_group_job(self, part: KernelRange) -> list[int]:
        unit = part.group
        size = self.program.packed_sizes[unit.index]
        work = self.program.row_work[unit.index]
        threads, along = partition_threads(self.threads, self.sequence, work, size)
        panels = self.workspace_offset * self.itemsize if size and self._packs_weights else -1
        address = self.program.function_address(unit)
        return [UNIT, 9, address, along, threads, panels, part.first, part.last, part.gemm_done]

    def _row_sum_job(self, value: Value) -> list[int]:
        read = value.operands[0]
        stride = self.layout.row_stride(read.value)
        width = value.shape[0]
        threads = self.threads if self.sequence.row_count * width >= MIN_ADDS_TO_THREAD else 1
        return [TOTAL, 7, self.layout.sum_slots[value.id], read.value, stride, width, threads]

    def _indexed_sum_job(self, value: Value) -> list[int]:
        rows, symbols = value.operands
        transposed, height, width = (int(number) for number in value.attributes)
        own = self.layout.flow.values[rows.value].shape[0]
        work = height * width + self.sequence.row_count * own
        threads = min(self.threads, own) if work >= MIN_WORK_TO_THREAD else 1
        slots = [self.layout.sum_slots[value.id], rows.value, symbols.value]
        return [
            *(INDEXED, 12, *slots, self.layout.row_stride(rows.value), own),
            *(self._index_slot(rows), self._index_slot(symbols)),
            *(height if transposed else width, transposed, threads),
        ]

    def _index_slot(self, read: Operand) -> int:
        """The table that a read finds its rows by, or −1."""
        return self.layout.row_indices.index(self.layout.row_index_key(read)) if read.delay else -1

    def _weight_grad_job(self, group: WeightGradGroup) -> list[int]:
        values = self.layout.flow.values
        numbers: list[int] = []
        for read in (*group.left, *group.right):
            width = values[read.value].shape[0]
            stride, index = self.layout.row_stride(read.value), self._index_slot(read)
            numbers += (read.value, stride, width, index)
        numbers += [self.layout.sum_slots[value.id] for value in group.sums]
        work = self.sequence.row_count * sum(
            value.shape[0] * value.shape[1] for value in group.sums
        )
        threads = self.threads if work >= MIN_WORK_TO_THREAD else 1
        sides = [len(group.left), len(group.right)]
        head = [self.workspace_offset * self.itemsize, threads, self._packing_size(group), *sides]
        return [OUTER, 7 + len(numbers), *head, *numbers]


def partition_threads(
    threads: int, sequence: PackedSequence, row_work: int, weights: int
) -> tuple[int, int]:
    """How many threads run a unit, and how many of them share the columns of a step.

    Threads have rows of their own as long as there are enough; those that share columns must wait
    for each other at every product. `row_work` is what one row takes, in multiplications.
    """
    if sequence.row_count * row_work < MIN_WORK_TO_THREAD:
        return 1, 1
    if weights < MIN_WEIGHTS_TO_SPLIT_COLUMNS:
        return min(threads, max(1, sequence.batch_size)), 1
    across = max(
        a
        for a in range(1, threads + 1)
        if threads % a == 0 and a <= max(1, sequence.batch_size // MIN_ROWS_PER_TEAM)
    )
    return threads, threads // across
