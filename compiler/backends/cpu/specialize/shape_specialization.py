"""A pass for one number of steps, batch size and thread count: byte offsets of every value.

Input: the slots of a compiled program and the packed rows of a call. Output: buffer regions, block
sizes, the bindings of parameters, and the call header of `csrc/job_runner.h`.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from functools import cached_property

from rnnc.compiler.backends.cpu.schedule.buffer_slots import SCRATCH_BLOCK, CpuBufferSlot
from rnnc.compiler.backends.cpu.schedule.gemm_candidates import (
    GemmDestination,
    LibraryWeightGrads,
)
from rnnc.compiler.backends.cpu.schedule.kernel_partition import CpuKernelGroup
from rnnc.compiler.backends.cpu.schedule.weight_grad_groups import (
    WeightGradGroup,
    group_weight_grads,
)

from .compiled_program import CompiledProgram
from .packed_sequence import PackedSequence
from .weight_grad_blocking import packing_size

MIN_ROWS_TO_PACK = 33
"""Rows of all steps from which packing matrices into panels costs less than it saves."""


@dataclass(frozen=True, slots=True)
class CpuBufferRegion:
    """Rows of a block of memory, in numbers, not bytes.

    rows_before: rows of the carry, in front of the first row of the first step.
    """

    block: int
    start: int
    rows: int
    stride: int
    rows_before: int

    @property
    def first_offset(self) -> int:
        """Offset of the first row of the first step."""
        return self.start + self.rows_before * self.stride


@dataclass(frozen=True, slots=True)
class SourceBindings:
    """Bindings of a launch's sources; parameters, most of them, are prepared to cost little.

    matrices: value id and parameter, which is read in place.
    vectors: value id and parameter, its byte offset in the scratch block, bytes, padded bytes.
    others: value ids that need a look at each call.
    """

    matrices: tuple[tuple[int, str], ...]
    vectors: tuple[tuple[int, str, int, int, int], ...]
    others: tuple[int, ...]


LaunchStep = ctypes.Array[ctypes.c_int64] | GemmDestination | LibraryWeightGrads
"""A table of jobs, or a GEMM for torch."""


class ShapeSpecialization:
    """The part of a pass that all calls with equal rows and threads share.

    regions: by value id.
    tuned_steps: by launch, once its alternatives are decided.
    direct_results: ids of results that are computed in tensors of their own.
    block_sizes: numbers of the residual block and of the scratch block.
    scratch_size: numbers to allocate for the scratch block; a later pass may need more.
    call_header: the call of `csrc/job_runner.h` behind the addresses of its blocks.
    """

    def __init__(
        self, program: CompiledProgram, sequence: PackedSequence, threads: int, *, adjoint: bool
    ) -> None:
        self.program, self.sequence, self.threads = program, sequence, threads
        self.adjoint = adjoint
        self.layout = program.layout
        self.launches = program.launches(adjoint=adjoint)
        self.slot_assignment = program.slot_assignment(adjoint=adjoint)
        self.itemsize = 8 if program.double else 4
        self.regions: dict[int, CpuBufferRegion] = {}
        self.tuned_steps: dict[int, tuple[LaunchStep, ...]] = {}
        self.direct_results: tuple[int, ...] = ()
        self.block_sizes = self._assign_regions()
        self.scratch_size = self.block_sizes[SCRATCH_BLOCK]
        indices = [sequence.row_index(key).data_ptr() for key in self.layout.row_indices]
        self._index_pointers = (ctypes.c_void_p * max(1, len(indices)))(*indices)
        region_numbers = [
            number
            for value_id, region in self.regions.items()
            for number in (value_id, region.block, *self._byte_bounds(region))
        ]
        self._region_table = (ctypes.c_int64 * max(1, len(region_numbers)))(*region_numbers)
        self.call_header = (
            *(size * self.itemsize for size in self.block_sizes),
            self.workspace_offset * self.itemsize,
            ctypes.addressof(self._region_table),
            len(self.regions),
            ctypes.addressof(self._index_pointers),
            sequence.batch_index_int32.data_ptr(),
            sequence.step_offsets.data_ptr(),
            sequence.steps,
            sequence.batch_size,
            sequence.row_count,
        )

    @property
    def packs_weights(self) -> bool:
        """True where there are rows enough to pay for packing matrices into panels."""
        return self.sequence.row_count >= MIN_ROWS_TO_PACK

    def packing_size(self, group: WeightGradGroup) -> int:
        """Return the numbers that a thread packs at a time for some weight gradients."""
        widths = [self.layout.flow.values[operand.value].shape[0] for operand in group.right]
        columns = self.program.emitter.tile_vectors * self.layout.lanes
        return packing_size(widths, columns, self.sequence.row_count)

    @cached_property
    def source_bindings(self) -> tuple[SourceBindings, ...]:
        """The bindings of each launch's sources."""
        return tuple(self._plan_bindings(launch.sources) for launch in self.launches)

    def _byte_bounds(self, region: CpuBufferRegion) -> tuple[int, int, int]:
        itemsize, end = self.itemsize, region.start + region.rows * region.stride
        return region.first_offset * itemsize, region.start * itemsize, end * itemsize

    def _assign_regions(self) -> tuple[int, int]:
        """Lay the slots out in both blocks and return the block sizes."""
        sizes, line = [0, 0], 64 // self.itemsize
        slot_counts = [0, 0]
        slots, slot_of = self.slot_assignment.slots, self.slot_assignment.slot_of
        regions: list[CpuBufferRegion] = []
        for slot in slots:
            # Stagger slots by cache lines: slots at equal distances from a 4 KiB page's start make
            # loads wait for stores to the other slot. The gap also shows overruns in tests.
            start = sizes[slot.block] + line * (1 + 9 * slot_counts[slot.block] % 16)
            slot_counts[slot.block] += 1
            rows_before, rows = self._slot_rows(slot)
            regions.append(CpuBufferRegion(slot.block, start, rows, slot.stride, rows_before))
            sizes[slot.block] = -(-(start + rows * slot.stride) // line) * line
        self.regions.update({value_id: regions[slot] for value_id, slot in slot_of.items()})
        if self.sequence.is_dense:
            self.direct_results = tuple(
                value_id for value_id, slot in slot_of.items() if slots[slot].extent == "result"
            )
            for value_id in self.direct_results:
                del self.regions[value_id]
        self.workspace_offset = sizes[SCRATCH_BLOCK]
        sizes[SCRATCH_BLOCK] += self._workspace_size()
        return sizes[0], sizes[1]

    def _slot_rows(self, slot: CpuBufferSlot) -> tuple[int, int]:
        """Return the rows in front of the first step's first row, and all rows."""
        sequence = self.sequence
        match slot.extent:
            case "call":
                return 0, 1
            case "row":
                return 0, sequence.batch_size + 1
            case "series":
                return 0, sequence.row_count + 1
            case "result":
                return 0, 0 if sequence.is_dense else sequence.row_count + 1
        before = self.program.carry_lengths[slot.name] * sequence.batch_size
        is_redrawn = slot.name in self.program.random_states and sequence.resets is not None
        draws = len(sequence.reset_positions) if is_redrawn else 0
        return before, before + sequence.row_count + sequence.batch_size + draws + 1

    def _workspace_size(self) -> int:
        """Return the room for packed operands; jobs run one at a time and share it."""
        sizes = [0]
        for launch in self.launches:
            for job in group_weight_grads(launch.jobs):
                if isinstance(job, CpuKernelGroup):
                    if self.packs_weights:
                        sizes.append(self.program.packed_sizes[job.index])
                elif isinstance(job, WeightGradGroup):
                    sizes.append(self.threads * self.packing_size(job))
        return max(sizes)

    def _plan_bindings(self, sources: tuple[int, ...]) -> SourceBindings:
        matrices: list[tuple[int, str]] = []
        vectors: list[tuple[int, str, int, int, int]] = []
        others: list[int] = []
        for value_id in sources:
            value = self.layout.flow.values[value_id]
            if value.operation != "parameter" or len(value.shape) > 2:
                others.append(value_id)
            elif len(value.shape) == 2:
                matrices.append((value_id, str(value.attributes[0])))
            else:
                region, width = self.regions[value_id], value.shape[0] * self.itemsize
                offset, stride = region.first_offset * self.itemsize, region.stride * self.itemsize
                vectors.append((value_id, str(value.attributes[0]), offset, width, stride))
        return SourceBindings(tuple(matrices), tuple(vectors), tuple(others))
