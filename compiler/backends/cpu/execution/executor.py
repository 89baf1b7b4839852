"""Executor: one pass of one call. Binds arguments, runs launches in order, collects results.

The first run of a shape autotunes its GEMMs; later ones run the tables that were chosen. Results
are copied out at the end, so that their memory is allocated when it is known to be needed.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Final

import torch
from torch import Tensor

from rnnc.compiler.backends.cpu.schedule.buffer_slots import SCRATCH_BLOCK
from rnnc.compiler.backends.cpu.schedule.gemm_candidates import (
    GemmAlternative,
    GemmDestination,
    LibraryWeightGrads,
)
from rnnc.compiler.backends.cpu.schedule.launch_segments import CpuLaunch
from rnnc.compiler.backends.cpu.specialize.job_tables import JobTables, WorkItem
from rnnc.compiler.backends.cpu.specialize.packed_sequence import PackedSequence
from rnnc.compiler.backends.cpu.specialize.shape_specialization import CpuBufferRegion, LaunchStep
from rnnc.compiler.backends.cpu.specialize.specialization_cache import SpecializationCache
from rnnc.compiler.backends.cpu.specialize.window_index import scatter_window_history
from rnnc.compiler.ir.dataflow import Operand, Value
from rnnc.compiler.ir.ops import REDUCTION_OPS
from rnnc.operators.semantics.call import Call

from .argument_binding import ArgumentBindings
from .aten_ops import evaluate_op, sum_over_rows
from .gemm_autotune import GEMM_AUTOTUNER
from .library_gemm import run_library_gemm, run_library_weight_grads
from .row_buffer import BoundValue, IncomingCotangents, RowBuffer

_NO_JOBS: Final = (ctypes.c_int64 * 0)()


class Executor(ArgumentBindings):
    """Runs one pass of a program on the tensors of one call."""

    def __init__(
        self,
        specializations: SpecializationCache,
        call: Call,
        sequence: PackedSequence,
        *,
        adjoint: bool,
    ) -> None:
        specialization = specializations.specialization(
            sequence, torch.get_num_threads(), adjoint=adjoint
        )
        super().__init__(specializations.program, call, sequence, specialization)

    def forward(self) -> None:
        """Run the forward pass."""
        if self.sequence.row_count:
            self.allocate(None)
            self._run_launches()

    def residuals(self) -> list[Tensor]:
        """Return what the backward pass reads: the residual block, and residuals of ATen."""
        if not self.sequence.row_count:
            return []
        aten_residuals = (self.get(value_id) for value_id in self.program.aten_residuals)
        return [self.blocks[0], *(value for value in aten_residuals if isinstance(value, Tensor))]

    def backward(self, residuals: Sequence[Tensor], cotangents: IncomingCotangents) -> None:
        """Run the backward pass on the residuals of the forward pass."""
        self.cotangents = cotangents
        if self.sequence.row_count:
            self.allocate(residuals[0])
            self.bound_values.update(zip(self.program.aten_residuals, residuals[1:], strict=True))
            self._run_launches()

    def release(self) -> None:
        """Make the queued copies of results, then give the workspace back."""
        count = len(self._row_copies)
        if count:
            self.program.copy_rows((ctypes.c_int64 * count)(*self._row_copies), count // 8)
        if self.blocks:
            self.program.workspaces.give_back(self.blocks.pop())

    def unpack(self, operand: Operand) -> Tensor:
        """Return an operand as (T, B, n), zero behind a sequence's end; never a view of a block."""
        value, sequence = self.values[operand.value], self.sequence
        steps, batch_size, width = sequence.input_steps, sequence.batch_size, value.shape[0]
        if not sequence.row_count:
            return torch.zeros(steps, batch_size, width, dtype=self.program.dtype)
        direct = None if operand.delay else self._result_tensors.pop(operand.value, None)
        if direct is not None:
            return direct.view(steps, batch_size, width)
        region = self.specialization.regions.get(operand.value)
        if sequence.is_dense and region is not None and value.rate == "step" and not operand.delay:
            return self._queue_result_copy(region, 0, (sequence.steps, batch_size, width))
        series = sequence.unpack(self.packed_rows(operand))
        return series.clone(memory_format=torch.contiguous_format) if sequence.is_dense else series

    def last_step(self, operand: Operand) -> Tensor:
        """Return an operand at the last step of each sequence, (B, n); zero for empty ones."""
        sequence, width = self.sequence, self.values[operand.value].shape[0]
        result = torch.zeros(sequence.batch_size, width, dtype=self.program.dtype)
        if sequence.row_count:
            nonempty = sequence.lengths > 0
            last_rows = sequence.last_rows[nonempty]
            result[nonempty] = self.packed_rows(operand).index_select(0, last_rows)
        return sequence.unsort_batch(result, 0)

    def carry_out(self, name: str) -> Tensor:
        """Return the carry of a state or input after the call, (k, B, n)."""
        carry, sequence = self.call.carry[name], self.sequence
        if not sequence.row_count:
            return carry.detach().clone()
        value_id = self.program.carry_values.get(name)
        # An input that only results read has no region.
        region = None if value_id is None else self.specialization.regions.get(value_id)
        if region is not None and sequence.is_uniform:
            first = sequence.row_count - carry.shape[0] * carry.shape[1]
            return self._queue_result_copy(region, first, tuple(carry.shape))
        rows = sequence.carry_rows(len(carry), self.boundary_kind(name))
        if value_id is not None:
            buffer = self.get(value_id)
            assert isinstance(buffer, RowBuffer)
            carry_out = buffer.gather(rows.reshape(-1)).view(*rows.shape, -1)
        else:
            carry_out = self._carry_of_input(name, carry, rows)
        return sequence.unsort_batch(carry_out, 1)

    def gradient(self, kind: str, value_id: int, shape: torch.Size, name: str) -> Tensor | None:
        """Return the gradient of an argument; None where nothing depends on it (id −1)."""
        if value_id < 0:
            return None
        if not self.sequence.row_count:
            return self._gradient_of_empty_call(kind, shape, name)
        if kind == "input":
            return self.unpack(Operand(value_id)).view(shape)
        gradient = self.get(value_id)
        assert isinstance(gradient, Tensor)
        if kind == "parameter":
            return gradient.view(shape)
        return self.sequence.unsort_batch(gradient, 0 if kind == "initial" else 1)

    def _run_launches(self) -> None:
        for index, launch in enumerate(self.specialization.launches):
            self._run_compiled(index, launch)
            for value_id in launch.aten_values:
                self.bound_values[value_id] = self._evaluate_aten(self.values[value_id])
        self._keepalive.clear()

    def _run_compiled(self, index: int, launch: CpuLaunch) -> None:
        if not launch.jobs:
            return
        self._bind_launch(index, launch)
        steps = self.specialization.tuned_steps.get(index)
        if steps is None:
            self._autotune(index)
        else:
            self._run_steps(steps)
        if self._row_copies:
            # Torch has computed everything, but later launches read the copied sources.
            self._run_jobs(_NO_JOBS)

    def _bind_launch(self, index: int, launch: CpuLaunch) -> None:
        parameters, scratch = self.call.parameters, self._block_addresses[SCRATCH_BLOCK]
        bindings = self.specialization.source_bindings[index]
        for value_id, name in bindings.matrices:
            matrix = parameters[name]
            if matrix.is_contiguous():
                self._pointers[value_id] = matrix.data_ptr()
            else:
                self.bind_source(value_id)
        for value_id, name, offset, width, stride in bindings.vectors:
            vector = parameters[name]
            if vector.is_contiguous():
                self._row_copies += (scratch + offset, vector.data_ptr(), 1, 0, 1, 0, width, stride)
            else:
                self.bind_source(value_id)
        for value_id in bindings.others:
            self.bind_source(value_id)
        for value_id in launch.states:
            self.bind_state(self.values[value_id])
        for value_id in launch.lookups:
            self.bind_lookup_table(self.values[value_id])
        for key in launch.window_keys:
            self.bind_window_index(key)
        for value in launch.row_sums:
            result = torch.empty(value.shape, dtype=self.program.dtype)
            self.bound_values[value.id] = result
            self._pointers[self.layout.sum_slots[value.id]] = result.data_ptr()

    def _run_steps(self, steps: Iterable[LaunchStep]) -> None:
        for step in steps:
            if isinstance(step, GemmDestination):
                run_library_gemm(self, step)
            elif isinstance(step, LibraryWeightGrads):
                run_library_weight_grads(self, step.group)
            else:
                self._run_jobs(step)

    def _run_jobs(self, jobs: ctypes.Array[ctypes.c_int64]) -> None:
        call = (ctypes.c_int64 * 13)(*self._block_addresses, *self.specialization.call_header)
        copies, count = self._row_copies, len(self._row_copies)
        table = (ctypes.c_int64 * count)(*copies) if count else None
        self.program.run_jobs(self._pointers, call, jobs, len(jobs), table, count // 8)
        self._row_copies = []

    def _autotune(self, index: int) -> None:
        """Run a launch for the first time, timing each alternative that is not decided yet."""
        tables = JobTables(self.specialization)
        tuned: list[WorkItem] = []
        pending: list[WorkItem] = []
        for item in tables.work_items(index):
            if not isinstance(item, GemmAlternative):
                pending.append(item)
                tuned.append(item)
                continue
            choice = GEMM_AUTOTUNER.lookup(item.key)
            is_decided = choice is not None
            if choice is None:
                self._run_steps(tables.assemble_steps(pending))
                pending = []
                choice = GEMM_AUTOTUNER.benchmark(
                    item.key,
                    partial(self._run_steps, tables.assemble_steps((item.generated,))),
                    partial(self._run_steps, tables.assemble_steps(item.library)),
                )
            chosen = item.library if choice == "torch" else (item.generated,)
            tuned += chosen
            if is_decided:
                pending += chosen
        self._run_steps(tables.assemble_steps(pending))
        self.specialization.tuned_steps[index] = tables.assemble_steps(tuned)

    def _evaluate_aten(self, value: Value) -> BoundValue:
        if value.operation in {"to_history", "to_initial"}:
            return self._boundary_gradient(value)
        if value.operation == "unmix_history":
            return self._scatter_window_history(value)
        rates = {self.values[operand.value].rate for operand in value.operands}
        if value.operation in REDUCTION_OPS and "step" in rates:
            return sum_over_rows(value, [self.packed_rows(operand) for operand in value.operands])
        operands: list[Tensor] = []
        for operand in value.operands:
            bound = self.get(operand.value)
            assert isinstance(bound, Tensor)
            operands.append(bound)
        if value.operation in REDUCTION_OPS:
            return sum_over_rows(value, operands)
        return evaluate_op(value, operands)

    def _boundary_gradient(self, value: Value) -> Tensor:
        """Return the gradient of the carry, (k, B, n), or of initial values, (B, n)."""
        name = str(value.attributes[0])
        sequence, width = self.sequence, value.shape[0]
        row_count, batch_size = sequence.row_count, sequence.batch_size
        of_initial = value.operation == "to_initial"
        carry = self.call.carry.get(name)
        count = batch_size if of_initial or carry is None else len(carry) * batch_size
        result = torch.zeros(count, width, dtype=self.program.dtype)
        for operand in value.operands:
            source = self.values[operand.value]
            if source.operation == "unmix_history":
                gradient = self.get(operand.value)
                assert isinstance(gradient, Tensor)
                result += gradient
                continue
            if source.operation == "seed" and not operand.delay:
                key = (str(source.attributes[0]), str(source.attributes[1]))
                cotangent = self.cotangents.by_key.get(key)
                if cotangent is None:
                    continue
                rows = sequence.carry_rows(len(cotangent), self.boundary_kind(name)).reshape(-1)
                gradients = sequence.sort_batch(cotangent, 1).reshape(-1, width)
            else:
                index_key = -operand.delay, self.boundary_kind(name), carry is not None
                rows = sequence.row_index(index_key).to(torch.int64)
                gradients = self.packed_rows(Operand(operand.value))
            if of_initial:
                at_boundary = (rows >= row_count) & (rows < row_count + batch_size)
                result.index_add_(0, rows[at_boundary] - row_count, gradients[at_boundary])
            else:
                in_carry = rows < 0
                result.index_add_(0, rows[in_carry] + count, gradients[in_carry])
        return result if of_initial or carry is None else result.view(-1, batch_size, width)

    def _scatter_window_history(self, value: Value) -> Tensor:
        """Return the gradient of a window's rows before the first step, (k B, n)."""
        name, *bounds = value.attributes
        first, last = (int(bound) for bound in bounds)
        count = len(self.call.carry[str(name)]) * self.sequence.batch_size
        weights, vector = (self.packed_rows(Operand(value.operands[i].value)) for i in (0, 2))
        index = self.window_index(("rows", first, last))
        return scatter_window_history(index, weights, vector, count)

    def _queue_result_copy(
        self, region: CpuBufferRegion, row: int, shape: tuple[int, ...]
    ) -> Tensor:
        """Allocate a result and queue the copy of a region's rows to it, which `release` makes.

        row: the first one, counted from the first row of the first step.
        """
        result = torch.empty(shape, dtype=self.program.dtype)
        itemsize, width = self.specialization.itemsize, shape[-1]
        count, stride = result.numel() // width, region.stride
        offset = (region.first_offset + row * stride) * itemsize
        source = self._block_addresses[region.block] + offset
        self._row_copies += (result.data_ptr(), source, 1, 0, count, stride * itemsize)
        self._row_copies += (width * itemsize, width * itemsize)
        return result

    def _carry_of_input(self, name: str, carry: Tensor, rows: Tensor) -> Tensor:
        boundary = self.call.initial_values.get(name)
        packed = self.sequence.pack(self.call.inputs[name].detach())
        if boundary is None:
            boundary = packed.new_zeros(self.sequence.batch_size, packed.shape[1])
        carry_rows = self.sequence.sort_batch(carry, 1).reshape(-1, packed.shape[1])
        buffer = torch.cat([carry_rows, packed, boundary])
        return buffer[rows + len(carry_rows)]

    def _gradient_of_empty_call(self, kind: str, shape: torch.Size, name: str) -> Tensor:
        """Return zeros; the carry of a call without steps hands its cotangent through."""
        cotangent = self.cotangents.by_key.get(("history", name)) if kind == "history" else None
        return torch.zeros(shape, dtype=self.program.dtype) if cotangent is None else cotangent
