"""One call of a program: binds tensors to slots, runs the segments in order."""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Final

import torch
from torch import Tensor

from rnnc.compiler.backends.cpu.schedule.buffer_slots import SCRATCH
from rnnc.compiler.backends.cpu.schedule.gemm_candidates import Either, Landing, Theirs
from rnnc.compiler.backends.cpu.schedule.launch_segments import Segment
from rnnc.compiler.backends.cpu.specialize.compiled_program import Program
from rnnc.compiler.backends.cpu.specialize.packed_sequence import Rows
from rnnc.compiler.backends.cpu.specialize.shape_specialization import Atom, Place, Step
from rnnc.compiler.backends.cpu.specialize.window_index import unmix_history
from rnnc.compiler.ir.dataflow import Read, Value
from rnnc.compiler.ir.ops import SUMS
from rnnc.operators.semantics.call import Call

from .argument_binding import Bindings, Known, Seeds, Series
from .aten_ops import evaluate, summed
from .gemm_autotune import CHOICES
from .library_gemm import take_products, take_sums

_NOTHING: Final = (ctypes.c_int64 * 0)()


class Execution(Bindings):
    """Runs one pass of a program on the tensors of one call."""

    def __init__(self, program: Program, call: Call, rows: Rows, *, adjoint: bool) -> None:
        geometry = program.geometry(rows, torch.get_num_threads(), adjoint=adjoint)
        super().__init__(program, call, rows, geometry)

    def forward(self) -> None:
        """Run the forward pass."""
        if self.rows.total:
            self.make_room(None)
            self._run()

    def saved(self) -> list[Tensor]:
        """What the backward pass reads: a block of memory, and what ATen has computed."""
        if not self.rows.total:
            return []
        found = (self.get(number) for number in self.program.saved_outside)
        return [self.blocks[0], *(tensor for tensor in found if isinstance(tensor, Tensor))]

    def backward(self, saved: Sequence[Tensor], seeds: Seeds) -> None:
        """Run the backward pass on what the forward pass has saved."""
        self.seeds = seeds
        if self.rows.total:
            self.make_room(saved[0])
            self.known.update(zip(self.program.saved_outside, saved[1:], strict=True))
            self._run()

    def leave(self) -> None:
        """Copy the results out, which have room by now; then the memory may be used again."""
        count = len(self._copies)
        if count:
            self.program.copy_rows((ctypes.c_int64 * count)(*self._copies), count // 8)
        if self.blocks:
            self.program.leave(self.blocks.pop())

    def _run(self) -> None:
        for index, segment in enumerate(self.geometry.segments):
            self._compiled(index, segment)
            for number in segment.outside:
                self.known[number] = self._outside(self.values[number])
        self._alive.clear()

    def _compiled(self, index: int, segment: Segment) -> None:
        if not segment.compiled:
            return
        self._bind_all(index, segment)
        steps = self.geometry.settled.get(index)
        if steps is None:
            self._settle(index)
        else:
            self._take(steps)
        if self._copies:
            # Torch has done all; what comes with the call is put in its places all the same.
            self._call(_NOTHING)

    def _bind_all(self, index: int, segment: Segment) -> None:
        parameters, scratch = self.call.parameters, self._address[SCRATCH]
        recipe = self.geometry.recipes[index]
        for number, name in recipe.matrices:
            matrix = parameters[name]
            if matrix.is_contiguous():
                self._at[number] = matrix.data_ptr()
            else:
                self.bind(number)
        for number, name, offset, width, step in recipe.vectors:
            vector = parameters[name]
            if vector.is_contiguous():
                self._copies += (scratch + offset, vector.data_ptr(), 1, 0, 1, 0, width, step)
            else:
                self.bind(number)
        for number in recipe.others:
            self.bind(number)
        for number in segment.states:
            self.bind_state(self.values[number])
        for number in segment.looked_up:
            self.bind_table(self.values[number])
        for key in segment.windows:
            self.bind_window(key)
        for value in segment.sums:
            result = torch.empty(value.shape, dtype=self.program.dtype)
            self.known[value.number] = result
            self._at[self.layout.sums[value.number]] = result.data_ptr()

    def _take(self, steps: Iterable[Step]) -> None:
        for step in steps:
            if isinstance(step, Landing):
                take_products(self, step)
            elif isinstance(step, Theirs):
                take_sums(self, step.group)
            else:
                self._call(step)

    def _call(self, jobs: ctypes.Array[ctypes.c_int64]) -> None:
        call = (ctypes.c_int64 * 13)(*self._address, *self.geometry.numbers)
        copies, count = self._copies, len(self._copies)
        table = (ctypes.c_int64 * count)(*copies) if count else None
        self.program.run_jobs(self._at, call, jobs, len(jobs), table, count // 8)
        self._copies = []

    def _settle(self, index: int) -> None:
        """Run a segment for the first time: of what has two ways, each that is not known."""
        geometry = self.geometry
        settled: list[Atom] = []
        waiting: list[Atom] = []
        for atom in geometry.work_of[index]:
            if not isinstance(atom, Either):
                waiting.append(atom)
                settled.append(atom)
                continue
            way = CHOICES.way(atom.key)
            if way is not None:
                found = atom.theirs if way == "torch" else (atom.own,)
                waiting += found
            else:
                self._take(geometry.steps(waiting))
                waiting = []
                own, theirs = geometry.steps((atom.own,)), geometry.steps(atom.theirs)
                way = CHOICES.settle(
                    atom.key, partial(self._take, own), partial(self._take, theirs)
                )
                found = atom.theirs if way == "torch" else (atom.own,)
            settled += found
        self._take(geometry.steps(waiting))
        geometry.settled[index] = geometry.steps(settled)

    def _outside(self, value: Value) -> Known:
        if value.operation in {"to_history", "to_initial"}:
            return self._late(value)
        if value.operation == "unmix_history":
            return self._unmix_history(value)
        rates = {self.values[read.value].rate for read in value.operands}
        if value.operation in SUMS and "step" in rates:
            return summed(value, [self.rows_of(read) for read in value.operands])
        operands: list[Tensor] = []
        for read in value.operands:
            known = self.get(read.value)
            assert isinstance(known, Tensor)
            operands.append(known)
        if value.operation in SUMS:
            return summed(value, operands)
        return evaluate(value, operands)

    def _late(self, value: Value) -> Tensor:
        """What flows to values from before the first step, or from outside of segments."""
        name = str(value.attributes[0])
        rows, width = self.rows, value.shape[0]
        initial = value.operation == "to_initial"
        history = self.call.history.get(name)
        count = rows.rows if initial or history is None else len(history) * rows.rows
        result = torch.zeros(count, width, dtype=self.program.dtype)
        outside = self.outside_of(name)
        for read in value.operands:
            source = self.values[read.value]
            if source.operation == "unmix_history":
                gains = self.get(read.value)
                assert isinstance(gains, Tensor)
                result += gains
                continue
            if source.operation == "seed" and not read.delay:
                given = self.seeds.given.get((str(source.attributes[0]), str(source.attributes[1])))
                if given is None:
                    continue
                found = rows.final(len(given), outside).reshape(-1)
                gains = rows.sorted(given, 1).reshape(-1, width)
            else:
                key = -read.delay, outside, history is not None
                found = rows.index(key).to(torch.int64)
                gains = self.rows_of(Read(read.value))
            if initial:
                live = (found >= rows.total) & (found < rows.total + rows.rows)
                result.index_add_(0, found[live] - rows.total, gains[live])
            else:
                live = found < 0
                result.index_add_(0, found[live] + count, gains[live])
        return result if initial or history is None else result.view(-1, rows.rows, width)

    def _unmix_history(self, value: Value) -> Tensor:
        """(k B, n): what the rows of a window that lie before the first step gain."""
        name, *ends = value.attributes
        first, last = (int(end) for end in ends)
        count = len(self.call.history[str(name)]) * self.rows.rows
        weights, vector = (self.rows_of(Read(value.operands[at].value)) for at in (0, 2))
        return unmix_history(self.window(("rows", first, last)), weights, vector, count)

    def spread(self, read: Read) -> Tensor:
        """What is read, (T, B, n), zero where a row has ended; never a view of a buffer."""
        value, rows = self.values[read.value], self.rows
        width = value.shape[0]
        if not rows.total:
            return torch.zeros(rows.given_steps, rows.rows, width, dtype=self.program.dtype)
        own = None if read.delay else self._handed.pop(read.value, None)
        if own is not None:
            return own.view(rows.given_steps, rows.rows, width)
        place = self.geometry.places.get(read.value)
        if rows.is_dense and place is not None and value.rate == "step" and not read.delay:
            return self._taken(place, 0, (rows.steps, rows.rows, width))
        found = rows.spread(self.rows_of(read))
        return found.clone(memory_format=torch.contiguous_format) if rows.is_dense else found

    def _taken(self, place: Place, row: int, shape: tuple[int, ...]) -> Tensor:
        """Some rows of a place, copied by `leave`; `row` counts from the first step's first."""
        result = torch.empty(shape, dtype=self.program.dtype)
        item, width = self.geometry.item, shape[-1]
        count = result.numel() // width
        start = self._address[place.block] + (place.first + row * place.stride) * item
        self._copies += (result.data_ptr(), start, 1, 0, count, place.stride * item)
        self._copies += (width * item, width * item)
        return result

    def at_end(self, read: Read) -> Tensor:
        """What is read at each row's last step, (B, n); zero for rows without any."""
        width = self.values[read.value].shape[0]
        result = torch.zeros(self.rows.rows, width, dtype=self.program.dtype)
        if self.rows.total:
            live = self.rows.lengths > 0
            result[live] = self.rows_of(read).index_select(0, self.rows.last[live])
        return self.rows.unsorted(result, 0)

    def final(self, name: str) -> Tensor:
        """(k, B, n): what is carried on of a state or input."""
        before = self.call.history[name]
        if not self.rows.total:
            return before.detach().clone()
        number = self.program.carried.get(name)
        # Of an input that results alone read there is no copy.
        place = None if number is None else self.geometry.places.get(number)
        if place is not None and self.rows.is_plain:
            back = self.rows.total - before.shape[0] * before.shape[1]
            return self._taken(place, back, tuple(before.shape))
        rows = self.rows.final(len(before), self.outside_of(name))
        if number is not None:
            known = self.get(number)
            assert isinstance(known, Series)
            found = known.at(rows.reshape(-1)).view(*rows.shape, -1)
        else:
            found = self._final_of_input(name, before, rows)
        return self.rows.unsorted(found, 1)

    def _final_of_input(self, name: str, before: Tensor, rows: Tensor) -> Tensor:
        outside = self.call.initial.get(name)
        packed = self.rows.packed(self.call.inputs[name].detach())
        if outside is None:
            outside = packed.new_zeros(self.rows.rows, packed.shape[1])
        past = self.rows.sorted(before, 1).reshape(-1, packed.shape[1])
        line = torch.cat([past, packed, outside])
        return line[rows + len(past)]

    def gradient(self, kind: str, number: int, shape: torch.Size, name: str) -> Tensor | None:
        """The gradient of an argument of the call; None where nothing depends on it."""
        if number < 0:
            return None
        if not self.rows.total:
            return self._gradient_of_nothing(kind, shape, name)
        if kind == "input":
            return self.spread(Read(number)).view(shape)
        known = self.get(number)
        assert isinstance(known, Tensor)
        if kind == "parameter":
            return known.view(shape)
        return self.rows.unsorted(known, 0 if kind == "initial" else 1)

    def _gradient_of_nothing(self, kind: str, shape: torch.Size, name: str) -> Tensor:
        given = self.seeds.given.get(("history", name)) if kind == "history" else None
        return torch.zeros(shape, dtype=self.program.dtype) if given is None else given
