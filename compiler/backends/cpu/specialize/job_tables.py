"""Job tables: a pass as the 64-bit integers that `csrc/job_runner.h` interprets.

Input: the launches of a pass and their shape specialization. Output: for each launch work items,
among them alternatives for the autotuner, and from items without alternatives the steps to run.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from rnnc.compiler.backends.cpu.schedule.buffer_slots import SCRATCH_BLOCK
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
from rnnc.compiler.ir.dataflow import Value

from .shape_specialization import LaunchStep, ShapeSpecialization
from .thread_partition import partition_threads, threads_for_additions, threads_for_multiplies

# The job kinds of `csrc/job_runner.h`.
KERNEL_GROUP_JOB: Final = 1
WEIGHT_GRAD_JOB: Final = 2
ROW_SUM_JOB: Final = 3
ZERO_FILL_JOB: Final = 4
INDEXED_SUM_JOB: Final = 5

MIN_WORK_TO_AUTOTUNE = 50_000_000
"""Multiplications of a GEMM from which torch may gain more than a separate call costs."""

ALL_KERNELS: Final = 1 << 30
"""An end of a kernel range behind every kernel of every group."""

WorkItem = (
    tuple[int, ...]
    | KernelRange
    | WeightGradGroup
    | LibraryWeightGrads
    | GemmDestination
    | GemmAlternative
)
"""The numbers of a finished job, work that becomes a job, work for torch, or an alternative."""


class JobTables:
    """Work items and job tables of a specialization."""

    def __init__(self, specialization: ShapeSpecialization) -> None:
        self.specialization = specialization
        self.program, self.layout = specialization.program, specialization.layout
        self.sequence, self.threads = specialization.sequence, specialization.threads

    def work_items(self, index: int) -> tuple[WorkItem, ...]:
        """Return the work of one launch in order; the first one with jobs zero-fills."""
        launches = self.specialization.launches
        items: list[WorkItem] = []
        if launches[index].jobs and not any(launch.jobs for launch in launches[:index]):
            items += self._zero_fill_jobs()
        for job in group_weight_grads(launches[index].jobs):
            if isinstance(job, CpuKernelGroup):
                items += self._kernel_group_items(job)
            elif isinstance(job, WeightGradGroup):
                items.append(self._weight_grad_item(job))
            elif job.operation == "total":
                items.append(self._row_sum_job(job))
            else:
                items.append(self._indexed_sum_job(job))
        return tuple(items)

    def assemble_steps(self, work_items: Iterable[WorkItem]) -> tuple[LaunchStep, ...]:
        """Concatenate items into job tables as long as can be, split at work for torch.

        Neighboring kernel ranges of one group become one job, unless torch computes between them.
        """
        steps: list[LaunchStep] = []
        table: list[int] = []
        pending: KernelRange | None = None

        def flush_range() -> None:
            nonlocal pending
            if pending is not None:
                table.extend(self._kernel_group_job(pending))
                pending = None

        def close_table() -> None:
            flush_range()
            if table:
                steps.append((ctypes.c_int64 * len(table))(*table))
                table.clear()

        for item in work_items:
            assert not isinstance(item, GemmAlternative)
            if isinstance(item, KernelRange):
                if pending is not None and pending.group is item.group and not item.gemm_done:
                    pending = replace(pending, last=item.last)
                else:
                    flush_range()
                    pending = item
            elif isinstance(item, GemmDestination | LibraryWeightGrads):
                close_table()
                steps.append(item)
            else:
                flush_range()
                table.extend(
                    self._weight_grad_job(item) if isinstance(item, WeightGradGroup) else item
                )
        close_table()
        return tuple(steps)

    def _kernel_group_items(self, group: CpuKernelGroup) -> list[WorkItem]:
        """Return a group as one range, or as ranges around the kernels that torch may help at."""
        items: list[WorkItem] = []
        end = 0
        for candidate in self.program.library_candidates.get(group.index, ()):
            if self.sequence.row_count * candidate.row_work < MIN_WORK_TO_AUTOTUNE:
                continue
            if candidate.kernel_index > end:
                items.append(KernelRange(group, end, candidate.kernel_index))
            end = candidate.kernel_index + 1
            generated = KernelRange(group, candidate.kernel_index, end)
            library: LibraryWork = candidate.destinations
            if not candidate.covers_kernel:
                library = (*library, replace(generated, gemm_done=True))
            key = self._autotune_key(candidate.name)
            items.append(GemmAlternative(key, generated, library))
        if end < ALL_KERNELS:
            items.append(KernelRange(group, end, ALL_KERNELS))
        return items

    def _weight_grad_item(self, group: WeightGradGroup) -> WorkItem:
        values = self.layout.flow.values
        if self._weight_grad_work(group) < MIN_WORK_TO_AUTOTUNE:
            return group
        left, right = (
            "+".join(str(values[operand.value].shape[0]) for operand in side)
            for side in (group.left, group.right)
        )
        delayed = any(operand.delay for operand in (*group.left, *group.right))
        name = f"sums {left} by {right}{' delayed' if delayed else ''}"
        return GemmAlternative(self._autotune_key(name), group, (LibraryWeightGrads(group),))

    def _weight_grad_work(self, group: WeightGradGroup) -> int:
        return self.sequence.row_count * sum(
            value.shape[0] * value.shape[1] for value in group.sums
        )

    def _autotune_key(self, name: str) -> str:
        """Name all that the faster implementation may depend on; rows to the next power of two."""
        kind = f"{'f64' if self.program.double else 'f32'} {self.program.isa}"
        row_limit = 1 << self.sequence.row_count.bit_length()
        packed = "" if self.sequence.is_uniform else ", packed"
        return f"{kind}, {self.threads} threads, below {row_limit} rows{packed}: {name}"

    def _zero_fill_jobs(self) -> list[tuple[int, ...]]:
        """Zero all that delayed operands read outside of the series.

        Initial values are copied to a state's own rows, so that one row behind them is left.
        """
        itemsize = self.specialization.itemsize
        jobs: list[tuple[int, ...]] = []
        for value_id, region in self.specialization.regions.items():
            if value_id not in self.layout.delayed_values:
                continue
            if region.block != SCRATCH_BLOCK and self.specialization.adjoint:
                continue
            is_state = self.layout.flow.values[value_id].operation == "state"
            behind = region.rows - region.rows_before
            first = behind - 1 if is_state else self.sequence.row_count
            row_bytes = region.stride * itemsize
            jobs.append(
                (ZERO_FILL_JOB, 5, value_id, first * row_bytes, (behind - first) * row_bytes)
            )
        return jobs

    def _kernel_group_job(self, kernels: KernelRange) -> tuple[int, ...]:
        group, program = kernels.group, self.program
        weights = program.packed_sizes[group.index]
        threads, per_step = partition_threads(
            self.threads, self.sequence, program.row_work[group.index], weights
        )
        packs = weights and self.specialization.packs_weights
        panels = self._workspace_bytes if packs else -1
        address = program.function_address(group)
        bounds = (kernels.first, kernels.last, kernels.gemm_done)
        return (KERNEL_GROUP_JOB, 9, address, per_step, threads, panels, *bounds)

    def _row_sum_job(self, value: Value) -> tuple[int, ...]:
        source, width = value.operands[0].value, value.shape[0]
        threads = threads_for_additions(self.threads, self.sequence.row_count * width)
        slot, stride = self.layout.sum_slots[value.id], self.layout.row_stride(source)
        return (ROW_SUM_JOB, 7, slot, source, stride, width, threads)

    def _indexed_sum_job(self, value: Value) -> tuple[int, ...]:
        rows, symbols = value.operands
        transposed, height, width = (int(number) for number in value.attributes)
        row_width = self.layout.flow.values[rows.value].shape[0]
        work = height * width + self.sequence.row_count * row_width
        # Threads split the columns of a row.
        threads = threads_for_multiplies(min(self.threads, row_width), work)
        slots = (self.layout.sum_slots[value.id], rows.value, symbols.value)
        return (
            *(INDEXED_SUM_JOB, 12, *slots, self.layout.row_stride(rows.value), row_width),
            *(self.layout.row_index_slot(rows), self.layout.row_index_slot(symbols)),
            *(height if transposed else width, transposed, threads),
        )

    def _weight_grad_job(self, group: WeightGradGroup) -> tuple[int, ...]:
        layout, values = self.layout, self.layout.flow.values
        numbers: list[int] = []
        for operand in (*group.left, *group.right):
            width, stride = values[operand.value].shape[0], layout.row_stride(operand.value)
            numbers += (operand.value, stride, width, layout.row_index_slot(operand))
        numbers += [layout.sum_slots[value.id] for value in group.sums]
        threads = threads_for_multiplies(self.threads, self._weight_grad_work(group))
        packing = self.specialization.packing_size(group)
        head = (self._workspace_bytes, threads, packing, len(group.left), len(group.right))
        return (WEIGHT_GRAD_JOB, 7 + len(numbers), *head, *numbers)

    @property
    def _workspace_bytes(self) -> int:
        """Bytes of the scratch block in front of the workspace."""
        return self.specialization.workspace_offset * self.specialization.itemsize
