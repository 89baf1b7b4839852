"""One call of a program: binds tensors to slots, runs the segments in order."""

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
from rnnc.compiler.backends.cpu.specialize.compiled_program import CompiledProgram
from rnnc.compiler.backends.cpu.specialize.packed_sequence import PackedSequence
from rnnc.compiler.backends.cpu.specialize.shape_specialization import (
    CpuBufferRegion,
    LaunchStep,
    WorkItem,
)
from rnnc.compiler.backends.cpu.specialize.window_index import scatter_window_history
from rnnc.compiler.ir.dataflow import Operand, Value
from rnnc.compiler.ir.ops import REDUCTION_OPS
from rnnc.operators.semantics.call import Call

from .argument_binding import ArgumentBindings, BoundValue, IncomingCotangents, RowBuffer
from .aten_ops import evaluate_op, sum_over_rows
from .gemm_autotune import GEMM_AUTOTUNER
from .library_gemm import run_library_gemm, run_library_weight_grads

_NO_JOBS: Final = (ctypes.c_int64 * 0)()


class Executor(ArgumentBindings):
    """Runs one pass of a program on the tensors of one call."""

    def __init__(
        self, program: CompiledProgram, call: Call, rows: PackedSequence, *, adjoint: bool
    ) -> None:
        geometry = program.specialization(rows, torch.get_num_threads(), adjoint=adjoint)
        super().__init__(program, call, rows, geometry)

    def forward(self) -> None:
        """Run the forward pass."""
        if self.sequence.row_count:
            self.allocate(None)
            self._run()

    def residuals(self) -> list[Tensor]:
        """What the backward pass reads: a block of memory, and what ATen has computed."""
        if not self.sequence.row_count:
            return []
        found = (self.get(number) for number in self.program.aten_residuals)
        return [self.blocks[0], *(tensor for tensor in found if isinstance(tensor, Tensor))]

    def backward(self, residuals: Sequence[Tensor], cotangents: IncomingCotangents) -> None:
        """Run the backward pass on what the forward pass has saved."""
        self.cotangents = cotangents
        if self.sequence.row_count:
            self.allocate(residuals[0])
            self.bound_values.update(zip(self.program.aten_residuals, residuals[1:], strict=True))
            self._run()

    def release(self) -> None:
        """Copy the results out, which have room by now; then the memory may be used again."""
        count = len(self._row_copies)
        if count:
            self.program.copy_rows((ctypes.c_int64 * count)(*self._row_copies), count // 8)
        if self.blocks:
            self.program.return_workspace(self.blocks.pop())

    def _run(self) -> None:
        for index, segment in enumerate(self.specialization.launches):
            self._run_jobs_of(index, segment)
            for number in segment.aten_values:
                self.bound_values[number] = self._evaluate_aten(self.values[number])
        self._keepalive.clear()

    def _run_jobs_of(self, index: int, segment: CpuLaunch) -> None:
        if not segment.jobs:
            return
        self._bind_launch(index, segment)
        steps = self.specialization.tuned_steps.get(index)
        if steps is None:
            self._autotune(index)
        else:
            self._run_steps(steps)
        if self._row_copies:
            # Torch has done all; what comes with the call is put in its places all the same.
            self._run_jobs(_NO_JOBS)

    def _bind_launch(self, index: int, segment: CpuLaunch) -> None:
        parameters, scratch = self.call.parameters, self._block_addresses[SCRATCH_BLOCK]
        recipe = self.specialization.source_bindings[index]
        for number, name in recipe.matrices:
            matrix = parameters[name]
            if matrix.is_contiguous():
                self._pointers[number] = matrix.data_ptr()
            else:
                self.bind_source(number)
        for number, name, offset, width, step in recipe.vectors:
            vector = parameters[name]
            if vector.is_contiguous():
                self._row_copies += (scratch + offset, vector.data_ptr(), 1, 0, 1, 0, width, step)
            else:
                self.bind_source(number)
        for number in recipe.others:
            self.bind_source(number)
        for number in segment.states:
            self.bind_state(self.values[number])
        for number in segment.lookups:
            self.bind_lookup_table(self.values[number])
        for key in segment.window_keys:
            self.bind_window_index(key)
        for value in segment.row_sums:
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
        """Run a segment for the first time: of what has two ways, each that is not known."""
        geometry = self.specialization
        settled: list[WorkItem] = []
        waiting: list[WorkItem] = []
        for atom in geometry.work_items[index]:
            if not isinstance(atom, GemmAlternative):
                waiting.append(atom)
                settled.append(atom)
                continue
            way = GEMM_AUTOTUNER.lookup(atom.key)
            if way is not None:
                found = atom.library if way == "torch" else (atom.generated,)
                waiting += found
            else:
                self._run_steps(geometry.assemble_steps(waiting))
                waiting = []
                own, theirs = (
                    geometry.assemble_steps((atom.generated,)),
                    geometry.assemble_steps(atom.library),
                )
                way = GEMM_AUTOTUNER.benchmark(
                    atom.key, partial(self._run_steps, own), partial(self._run_steps, theirs)
                )
                found = atom.library if way == "torch" else (atom.generated,)
            settled += found
        self._run_steps(geometry.assemble_steps(waiting))
        geometry.tuned_steps[index] = geometry.assemble_steps(settled)

    def _evaluate_aten(self, value: Value) -> BoundValue:
        if value.operation in {"to_history", "to_initial"}:
            return self._boundary_gradient(value)
        if value.operation == "unmix_history":
            return self._scatter_window_history(value)
        rates = {self.values[read.value].rate for read in value.operands}
        if value.operation in REDUCTION_OPS and "step" in rates:
            return sum_over_rows(value, [self.packed_rows(read) for read in value.operands])
        operands: list[Tensor] = []
        for read in value.operands:
            known = self.get(read.value)
            assert isinstance(known, Tensor)
            operands.append(known)
        if value.operation in REDUCTION_OPS:
            return sum_over_rows(value, operands)
        return evaluate_op(value, operands)

    def _boundary_gradient(self, value: Value) -> Tensor:
        """What flows to values from before the first step, or from outside of segments."""
        name = str(value.attributes[0])
        rows, width = self.sequence, value.shape[0]
        initial = value.operation == "to_initial"
        history = self.call.carry.get(name)
        count = rows.batch_size if initial or history is None else len(history) * rows.batch_size
        result = torch.zeros(count, width, dtype=self.program.dtype)
        outside = self.boundary_kind(name)
        for read in value.operands:
            source = self.values[read.value]
            if source.operation == "unmix_history":
                gains = self.get(read.value)
                assert isinstance(gains, Tensor)
                result += gains
                continue
            if source.operation == "seed" and not read.delay:
                given = self.cotangents.by_key.get(
                    (str(source.attributes[0]), str(source.attributes[1]))
                )
                if given is None:
                    continue
                found = rows.carry_rows(len(given), outside).reshape(-1)
                gains = rows.sort_batch(given, 1).reshape(-1, width)
            else:
                key = -read.delay, outside, history is not None
                found = rows.row_index(key).to(torch.int64)
                gains = self.packed_rows(Operand(read.value))
            if initial:
                live = (found >= rows.row_count) & (found < rows.row_count + rows.batch_size)
                result.index_add_(0, found[live] - rows.row_count, gains[live])
            else:
                live = found < 0
                result.index_add_(0, found[live] + count, gains[live])
        return result if initial or history is None else result.view(-1, rows.batch_size, width)

    def _scatter_window_history(self, value: Value) -> Tensor:
        """(k B, n): what the rows of a window that lie before the first step gain."""
        name, *ends = value.attributes
        first, last = (int(end) for end in ends)
        count = len(self.call.carry[str(name)]) * self.sequence.batch_size
        weights, vector = (self.packed_rows(Operand(value.operands[at].value)) for at in (0, 2))
        return scatter_window_history(
            self.window_index(("rows", first, last)), weights, vector, count
        )

    def unpack(self, read: Operand) -> Tensor:
        """What is read, (T, B, n), zero where a row has ended; never a view of a buffer."""
        value, rows = self.values[read.value], self.sequence
        width = value.shape[0]
        if not rows.row_count:
            return torch.zeros(rows.input_steps, rows.batch_size, width, dtype=self.program.dtype)
        own = None if read.delay else self._result_tensors.pop(read.value, None)
        if own is not None:
            return own.view(rows.input_steps, rows.batch_size, width)
        place = self.specialization.regions.get(read.value)
        if rows.is_dense and place is not None and value.rate == "step" and not read.delay:
            return self._queue_result_copy(place, 0, (rows.steps, rows.batch_size, width))
        found = rows.unpack(self.packed_rows(read))
        return found.clone(memory_format=torch.contiguous_format) if rows.is_dense else found

    def _queue_result_copy(
        self, place: CpuBufferRegion, row: int, shape: tuple[int, ...]
    ) -> Tensor:
        """Some rows of a place, copied by `leave`; `row` counts from the first step's first."""
        result = torch.empty(shape, dtype=self.program.dtype)
        item, width = self.specialization.itemsize, shape[-1]
        count = result.numel() // width
        start = (
            self._block_addresses[place.block] + (place.first_offset + row * place.stride) * item
        )
        self._row_copies += (result.data_ptr(), start, 1, 0, count, place.stride * item)
        self._row_copies += (width * item, width * item)
        return result

    def last_step(self, read: Operand) -> Tensor:
        """What is read at each row's last step, (B, n); zero for rows without any."""
        width = self.values[read.value].shape[0]
        result = torch.zeros(self.sequence.batch_size, width, dtype=self.program.dtype)
        if self.sequence.row_count:
            live = self.sequence.lengths > 0
            result[live] = self.packed_rows(read).index_select(0, self.sequence.last_rows[live])
        return self.sequence.unsort_batch(result, 0)

    def carry_out(self, name: str) -> Tensor:
        """(k, B, n): what is carried on of a state or input."""
        before = self.call.carry[name]
        if not self.sequence.row_count:
            return before.detach().clone()
        number = self.program.carry_values.get(name)
        # Of an input that results alone read there is no copy.
        place = None if number is None else self.specialization.regions.get(number)
        if place is not None and self.sequence.is_uniform:
            back = self.sequence.row_count - before.shape[0] * before.shape[1]
            return self._queue_result_copy(place, back, tuple(before.shape))
        rows = self.sequence.carry_rows(len(before), self.boundary_kind(name))
        if number is not None:
            known = self.get(number)
            assert isinstance(known, RowBuffer)
            found = known.gather(rows.reshape(-1)).view(*rows.shape, -1)
        else:
            found = self._carry_of_input(name, before, rows)
        return self.sequence.unsort_batch(found, 1)

    def _carry_of_input(self, name: str, before: Tensor, rows: Tensor) -> Tensor:
        outside = self.call.initial_values.get(name)
        packed = self.sequence.pack(self.call.inputs[name].detach())
        if outside is None:
            outside = packed.new_zeros(self.sequence.batch_size, packed.shape[1])
        past = self.sequence.sort_batch(before, 1).reshape(-1, packed.shape[1])
        line = torch.cat([past, packed, outside])
        return line[rows + len(past)]

    def gradient(self, kind: str, number: int, shape: torch.Size, name: str) -> Tensor | None:
        """The gradient of an argument of the call; None where nothing depends on it."""
        if number < 0:
            return None
        if not self.sequence.row_count:
            return self._gradient_of_empty_call(kind, shape, name)
        if kind == "input":
            return self.unpack(Operand(number)).view(shape)
        known = self.get(number)
        assert isinstance(known, Tensor)
        if kind == "parameter":
            return known.view(shape)
        return self.sequence.unsort_batch(known, 0 if kind == "initial" else 1)

    def _gradient_of_empty_call(self, kind: str, shape: torch.Size, name: str) -> Tensor:
        given = self.cotangents.by_key.get(("history", name)) if kind == "history" else None
        return torch.zeros(shape, dtype=self.program.dtype) if given is None else given
