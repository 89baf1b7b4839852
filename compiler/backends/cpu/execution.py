"""One call of a program: binds tensors to slots, runs the units in order."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ...flow import Read, Value
from ...vocabulary import SUMS
from .bindings import Bindings, Known, Series
from .outside import evaluate, summed
from .program import Frame
from .rows import Rows
from .stages import Unit


class Execution(Bindings):
    """Runs a program's units on the tensors of one call."""

    def run(self, *, adjoint: bool) -> None:
        """Run the units of one pass."""
        if not self.rows.total:
            return
        for unit in self.layout.units:
            if unit.adjoint != adjoint:
                continue
            if unit.outside:
                for number in unit.values:
                    self.known[number] = self._outside(self.values[number])
            else:
                self._generated(unit)
        self._alive.clear()

    def _generated(self, unit: Unit) -> None:
        layout, rows = self.layout, self.rows
        own = set(unit.values)
        for number in unit.values:
            value = self.values[number]
            for read in value.operands:
                if read.value not in own:
                    self._bind(read.value)
                if read.delay:
                    slot = layout.indices.index(layout.index_key(read))
                    self._index[slot] = rows.index(layout.indices[slot]).data_ptr()
            if layout.table_key(value) is not None:
                self._bind_table(value)
        for number in unit.values:
            if number in layout.stored:
                series = self.room(self.values[number])
                self.known[number] = series
                self._at[number] = series.pointer()
        size = self.program.panel_sizes[unit.number]
        panels = torch.empty(size + 64, dtype=self.program.dtype)
        work = self.program.work[unit.number]
        threads, along = shared_out(torch.get_num_threads(), rows, work, size)
        frame = Frame(
            ctypes.addressof(self._at),
            ctypes.addressof(self._index),
            rows.row_of.data_ptr(),
            rows.offset.data_ptr(),
            rows.steps,
            rows.rows,
            rows.total,
            threads,
            -(-panels.data_ptr() // 64) * 64,
        )
        self.program.run(unit, frame, along)

    def _bind(self, number: int) -> None:
        """Put a finished value into its slot, as generated code wants it."""
        value = self.values[number]
        if value.operation == "constant" or self._at[number] is not None:
            return
        known = self.get(number)
        if isinstance(known, Series):
            self._at[number] = known.pointer()
            self._alive[number] = known.buffer
            return
        if known.dim() == 3:
            known = torch.block_diag(*known)  # type: ignore[no-untyped-call]
        elif known.dim() == 1 or value.rate == "row":
            known = self._padded(known)
        known = known.contiguous()
        self._alive[number] = known
        self._at[number] = known.data_ptr()

    def _bind_table(self, value: Value) -> None:
        slot = self.layout.table_slot(value)
        if self._at[slot] is not None:
            return
        if value.operation == "onehot":
            matrix = torch.eye(value.shape[0], dtype=self.program.dtype)
        else:
            known = self.get(value.operands[0].value)
            assert isinstance(known, Tensor)
            if known.dim() == 3:
                known = torch.block_diag(*known)  # type: ignore[no-untyped-call]
            matrix = known if value.attributes[0] else known.t()
        width = self.layout.padded(matrix.shape[1])
        table = F.pad(matrix, (0, width - matrix.shape[1], 0, 1))
        self._alive[slot] = table
        self._at[slot] = table.data_ptr()

    def _padded(self, tensor: Tensor) -> Tensor:
        width = tensor.shape[-1]
        more = self.layout.padded(width) - width
        # Shifted reads run over the end by less than one vector.
        if tensor.dim() == 1:
            return F.pad(tensor, (0, more + self.layout.lanes))
        return F.pad(tensor, (0, more, 0, 1)) if more or tensor.dim() == 2 else tensor

    def _outside(self, value: Value) -> Known:
        if value.operation in {"to_history", "to_initial"}:
            return self._late(value)
        rates = {self.values[read.value].rate for read in value.operands}
        if value.operation == "outer_sum" and not value.attributes and rates == {"step"}:
            (a, a_rows), (b, b_rows) = (self._located(read) for read in value.operands)
            return self.program.outer_sum(a, a_rows, b, b_rows, self.rows.total)
        if value.operation in SUMS and "step" in rates:
            return summed(value, [self.rows_of(read) for read in value.operands])
        operands: list[Tensor] = []
        for read in value.operands:
            known = self.get(read.value)
            assert isinstance(known, Tensor)
            operands.append(known)
        if value.operation in SUMS:
            return summed(value, self._by_row(value, operands))
        return evaluate(value, operands)

    def _located(self, read: Read) -> tuple[Tensor, Tensor | None]:
        """The rows of all steps of what is read, and which of them each row reads."""
        known = self.get(read.value)
        assert isinstance(known, Series)
        index = self.rows.index(self.layout.index_key(read)) if read.delay else None
        return known.buffer[known.base :, : known.width], index

    def _by_row(self, value: Value, operands: Sequence[Tensor]) -> list[Tensor]:
        return [
            tensor
            if self.values[read.value].rate == "row"
            else tensor.expand(self.rows.rows, *tensor.shape)
            for read, tensor in zip(value.operands, operands, strict=True)
        ]

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
            if source.operation == "seed" and not read.delay:
                given = self.seeds.given.get((str(source.attributes[0]), str(source.attributes[1])))
                if given is None:
                    continue
                found = rows.final(len(given), outside).reshape(-1)
                gains = rows.sorted(given, 1).reshape(-1, width)
            else:
                found = rows.index((-read.delay, outside)).to(torch.int64)
                gains = self.rows_of(Read(read.value))
            if initial:
                live = (found >= rows.total) & (found < rows.total + rows.rows)
                result.index_add_(0, found[live] - rows.total, gains[live])
            else:
                live = found < 0
                result.index_add_(0, found[live] + count, gains[live])
        return result if initial or history is None else result.view(-1, rows.rows, width)

    def _rows_or_empty(self, read: Read) -> Tensor:
        value = self.values[read.value]
        if self.rows.total:
            return self.rows_of(read)
        return torch.empty(0, value.shape[0], dtype=self.program.dtype)

    def spread(self, read: Read) -> Tensor:
        """What is read, (T, B, n), zero where a row has ended; never a view of a buffer."""
        found = self.rows.spread(self._rows_or_empty(read))
        return found.clone(memory_format=torch.contiguous_format) if self.rows.is_dense else found

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
        before = self.call.history[name].detach()
        if not self.rows.total:
            return before.clone()
        number = next(
            (
                v.number
                for v in self.values
                if v.attributes[:1] == (name,)
                and (
                    v.operation == "state"
                    or (v.operation == "input" and v.number in self.layout.delayed)
                )
            ),
            None,
        )
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
            return self.rows.spread(self.rows_of(Read(number))).view(shape)
        known = self.get(number)
        assert isinstance(known, Tensor)
        if kind == "parameter":
            return known.view(shape)
        return self.rows.unsorted(known, 0 if kind == "initial" else 1)

    def _gradient_of_nothing(self, kind: str, shape: torch.Size, name: str) -> Tensor:
        given = self.seeds.given.get(("history", name)) if kind == "history" else None
        return torch.zeros(shape, dtype=self.program.dtype) if given is None else given


ENOUGH_FOR_TWO = 1_000_000
"""Multiplications below which starting a second thread costs more than it saves."""

ENOUGH_TO_WAIT = 1_000_000
"""Weights of a step from which threads that share it save more than their waiting costs."""


def shared_out(threads: int, rows: Rows, work: int, weights: int) -> tuple[int, int]:
    """How many threads run a unit, and how many of them share the columns of a step.

    Threads have rows of their own as long as there are enough; those that share columns must wait
    for each other at every product. `work` is what one row takes, in multiplications.
    """
    if rows.total * work < ENOUGH_FOR_TWO:
        return 1, 1
    if weights < ENOUGH_TO_WAIT:
        return min(threads, max(1, rows.rows)), 1
    across = max(
        a for a in range(1, threads + 1) if threads % a == 0 and a <= max(1, rows.rows // 4)
    )
    return threads, threads // across
