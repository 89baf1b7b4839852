"""The values of one call: what comes with it, as compiled code wants it."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from rnnc.compiler.backends.cpu.schedule.buffer_slots import RESIDUAL_BLOCK
from rnnc.compiler.backends.cpu.schedule.window_access import WindowKey
from rnnc.compiler.backends.cpu.specialize.compiled_program import CompiledProgram
from rnnc.compiler.backends.cpu.specialize.packed_sequence import PackedSequence
from rnnc.compiler.backends.cpu.specialize.shape_specialization import ShapeSpecialization
from rnnc.compiler.backends.cpu.specialize.window_index import MISSING, compute_window_index
from rnnc.compiler.ir.dataflow import Operand, Value
from rnnc.compiler.ir.ops import SOURCE_OPS
from rnnc.operators.semantics.call import Call

from .huge_pages import MIN_HUGE_PAGE_NUMBERS, advise_huge_pages


@dataclass(slots=True)
class RowBuffer:
    """A value of all steps: rows of a buffer, the first step's at `first_row` (see `PackedSequence`)."""

    buffer: Tensor
    first_row: int
    width: int

    def gather(self, rows: Tensor) -> Tensor:
        """Some of the rows."""
        found = self.buffer.index_select(0, rows + self.first_row)
        return found[:, : self.width] if found.dim() == 2 else found

    def view(self, total: int) -> Tensor:
        """The rows of all steps, a view."""
        rows = self.buffer[self.first_row : self.first_row + total]
        return rows[:, : self.width] if rows.dim() == 2 else rows


BoundValue = Tensor | RowBuffer


@dataclass(slots=True)
class IncomingCotangents:
    """The gradients that come in, by kind and name; None where there is none."""

    by_key: Mapping[tuple[str, str], Tensor | None] = field(default_factory=dict)


class ArgumentBindings:
    """Tensors of a call by the numbers of values.

    `bound_values` has what ATen has met so far: (n,) or a matrix for those computed once a call, (B, n)
    for those of a row, a `RowBuffer` for those of all steps; batches are in the order of packed rows.
    """

    def __init__(
        self,
        program: CompiledProgram,
        call: Call,
        rows: PackedSequence,
        geometry: ShapeSpecialization,
    ) -> None:
        self.program, self.call, self.sequence, self.specialization = program, call, rows, geometry
        self.layout, self.values = program.layout, program.layout.flow.values
        self.bound_values: dict[int, BoundValue] = {}
        self.cotangents = IncomingCotangents()
        self.blocks: list[Tensor] = []
        self._block_addresses = [0, 0]
        self._pointers = (ctypes.c_void_p * self.layout.slot_count)()
        self._row_copies: list[int] = []
        self._window_indices: dict[WindowKey, Tensor] = {}
        self._keepalive: list[Tensor] = []
        self._result_tensors: dict[int, Tensor] = {}
        """Results in tensors of their own that nobody has yet."""

    def allocate(self, residuals: Tensor | None) -> None:
        """Memory for all that is computed; `residuals` is what the forward pass has left."""
        if residuals is not None and residuals.data_ptr() % 64:
            # Torch's own memory begins at multiples of 64 bytes; hooks may have moved it.
            residuals = residuals.clone()
        line = 64 // self.specialization.itemsize
        for block, size in enumerate(
            (self.specialization.block_sizes[RESIDUAL_BLOCK], self.specialization.scratch_size)
        ):
            tensor = (
                residuals if block == RESIDUAL_BLOCK else self.program.take_workspace(size + line)
            )
            if tensor is None:
                tensor = torch.empty(size + line, dtype=self.program.dtype)
                if size > MIN_HUGE_PAGE_NUMBERS:
                    advise_huge_pages(tensor)
            self.blocks.append(tensor)
            self._block_addresses[block] = -(-tensor.data_ptr() // 64) * 64
        for number in self.specialization.direct_results:
            width = self.values[number].shape[0]
            rows = torch.empty(self.sequence.row_count, width, dtype=self.program.dtype)
            self.bound_values[number] = RowBuffer(rows, 0, width)
            self._pointers[number] = rows.data_ptr()
            self._result_tensors[number] = rows

    def get(self, number: int) -> BoundValue:
        """A value that is computed already, or that comes with the call."""
        known = self.bound_values.get(number)
        if known is None:
            known = self._view_stored(number) or self._load_source(self.values[number])
            self.bound_values[number] = known
        return known

    def _view_stored(self, number: int) -> RowBuffer | None:
        """What compiled code has computed, as a view."""
        place = self.specialization.regions.get(number)
        value = self.values[number]
        if place is None or value.operation in SOURCE_OPS:
            return None
        block = self.blocks[place.block]
        shift = (
            self._block_addresses[place.block] - block.data_ptr()
        ) // self.specialization.itemsize
        shape, strides = (place.rows, place.stride), (place.stride, 1)
        rows = block.as_strided(shape, strides, block.storage_offset() + shift + place.start)
        return RowBuffer(rows, place.rows_before, value.shape[0])

    def bind_source(self, number: int) -> None:
        """Put the address of a source into its slot, or have it copied to its place."""
        value = self.values[number]
        if value.operation == "parameter":
            tensor = self.call.parameters[value.attributes[0]]  # type: ignore[index]
            if len(value.shape) == 1:
                self._queue_copy(number, tensor)
                return
            if len(value.shape) == 3:
                tensor = torch.block_diag(*tensor.detach())  # type: ignore[no-untyped-call]
            self._bind_pointer(number, tensor)
        elif value.operation == "input":
            self._bind_input(value)
        elif value.operation == "seed":
            self._bind_cotangent(value)
        else:
            known = self.get(number)
            if isinstance(known, RowBuffer):
                self._bind_rows(number, known.view(self.sequence.row_count))
            elif number in self.specialization.regions:
                self._queue_copy(number, known)
            else:
                matrix = torch.block_diag(*known) if known.dim() == 3 else known  # type: ignore[no-untyped-call]
                self._bind_pointer(number, matrix)

    def _bind_pointer(self, number: int, tensor: Tensor) -> None:
        if not tensor.is_contiguous():
            tensor = tensor.contiguous()
        self._keepalive.append(tensor)
        self._pointers[number] = tensor.data_ptr()

    def _bind_rows(self, number: int, rows: Tensor) -> None:
        """Packed rows (N, n), or (T, B, n) where that is the same."""
        if number in self.specialization.regions:
            self._queue_copy(number, rows)
        else:
            self._bind_pointer(number, rows)

    def _bind_input(self, value: Value) -> None:
        name, number = str(value.attributes[0]), value.id
        if value.shape == ():
            series = self.get(number)
            assert isinstance(series, RowBuffer)
            self._pointers[number] = series.buffer.data_ptr() + 4 * series.first_row
            return
        series = self.call.inputs[name]
        self._bind_rows(number, series if self.sequence.is_dense else self.sequence.pack(series))
        history = self.call.carry.get(name)
        if history is not None and number in self.layout.delayed_values:
            self._queue_copy(
                number,
                self.sequence.sort_batch(history, 1),
                -len(history) * self.sequence.batch_size,
            )

    def _bind_cotangent(self, value: Value) -> None:
        kind, name = str(value.attributes[0]), str(value.attributes[1])
        given = self.cotangents.by_key.get((kind, name))
        step = self.layout.cotangent_stride_slots.get(value.id)
        if step is not None:
            self._pointers[step] = 0 if given is None else self.layout.row_stride(value.id)
        if given is None and step is not None:
            zeros = torch.zeros(1, self.layout.row_stride(value.id), dtype=self.program.dtype)
            self._bind_rows(value.id, zeros[:, : value.shape[0]])
            return
        if given is None or kind == "history" or self._is_at_end(kind, name):
            series = self.get(value.id)
            assert isinstance(series, RowBuffer)
            self._bind_rows(value.id, series.view(self.sequence.row_count))
            return
        self._bind_rows(value.id, self._pack_cotangent(kind, given))

    def _pack_cotangent(self, kind: str, given: Tensor) -> Tensor:
        series = given.unsqueeze(-1) if kind == "law" else given
        return series if self.sequence.is_dense else self.sequence.pack(series)

    def bind_state(self, value: Value) -> None:
        """Copy what a state is before the first step, and outside of segments."""
        name, number, rows = str(value.attributes[0]), value.id, self.sequence
        history = self.call.carry.get(name)
        if history is not None:
            self._queue_copy(number, rows.sort_batch(history, 1), -len(history) * rows.batch_size)
        self._queue_copy(number, rows.sort_batch(self.call.initial_values[name], 0), rows.row_count)
        drawn = self.call.reset_values.get(name)
        if drawn is not None and rows.resets is not None:
            sorted_ = rows.sort_batch(drawn[: rows.steps], 1).reshape(-1, drawn.shape[-1])
            self._queue_copy(
                number,
                sorted_.index_select(0, rows.reset_positions),
                rows.row_count + rows.batch_size,
            )

    def bind_lookup_table(self, value: Value) -> None:
        """The matrix that a symbol looks up in, a row for each symbol and one of zeros."""
        slot = self.layout.lookup_table_slot(value)
        if self._pointers[slot] is not None:
            return
        if value.operation == "onehot":
            matrix = torch.eye(value.shape[0], dtype=self.program.dtype)
        else:
            known = self.get(value.operands[0].value)
            assert isinstance(known, Tensor)
            if known.dim() == 3:
                known = torch.block_diag(*known)  # type: ignore[no-untyped-call]
            matrix = known if value.attributes[0] else known.t()
        width = self.layout.padded_width(matrix.shape[1])
        table = F.pad(matrix, (0, width - matrix.shape[1], 0, 1))
        self._keepalive.append(table)
        self._pointers[slot] = table.data_ptr()

    def window_index(self, key: WindowKey) -> Tensor:
        """The table of a window's rows; of this call, whose segments may be older than it."""
        if key not in self._window_indices:
            age = None if self.call.age is None else self.sequence.sort_batch(self.call.age, 0)
            self._window_indices[key] = compute_window_index(self.sequence, key, age)
        return self._window_indices[key]

    def bind_window_index(self, key: WindowKey) -> None:
        """Put the address of such a table into its slot."""
        self._pointers[self.layout.window_slots[key]] = self.window_index(key).data_ptr()

    def _queue_copy(self, number: int, tensor: Tensor, row: int = 0) -> None:
        """Have the rows of a tensor copied to the place of a value, from one of its rows on."""
        if not tensor.numel():
            return
        if tensor.stride(-1) != 1:
            tensor = tensor.contiguous()
        # Until the copy is made the tensor must not go.
        self._keepalive.append(tensor)
        place, item = self.specialization.regions[number], self.specialization.itemsize
        to = self._block_addresses[place.block] + (place.first_offset + row * place.stride) * item
        self._row_copies += (to, *copy_source(tensor, item), place.stride * item)

    def _load_source(self, value: Value) -> BoundValue:
        match value.operation:
            case "parameter":
                return self.call.parameters[str(value.attributes[0])].detach()
            case "constant":
                number = float(value.attributes[0])
                return torch.full((1,), number, dtype=self.program.dtype)
            case "input":
                return self._load_input(value)
            case "mask":
                mask = self.call.masks[int(value.attributes[0])].to(self.program.dtype)
                if value.rate == "row":
                    return self.sequence.sort_batch(mask, 0)
                return self._row_buffer(self.sequence.pack(mask), value)
            case "present":
                first, last = (int(end) for end in value.attributes)
                there = self.window_index(("rows", first, last)) != MISSING
                return self._row_buffer(there.to(self.program.dtype), value)
        assert value.operation == "seed", value.operation
        return self._load_cotangent(value)

    def _row_buffer(self, packed: Tensor, value: Value) -> RowBuffer:
        """Packed rows, with zeros behind them for who reads at another step."""
        if value.id in self.layout.delayed_values:
            packed = torch.cat([packed, packed.new_zeros(1, packed.shape[1])])
        return RowBuffer(packed, 0, value.shape[0])

    def _load_input(self, value: Value) -> RowBuffer:
        name = str(value.attributes[0])
        packed = self.sequence.pack(self.call.inputs[name].detach())
        history = self.call.carry.get(name)
        delayed = value.id in self.layout.delayed_values
        if value.shape == ():
            return self._load_symbols(packed, self._input_sizes[name], history if delayed else None)
        before = 0
        if delayed:
            past = packed.new_empty(0, packed.shape[1])
            if history is not None:
                past = self.sequence.sort_batch(history, 1).reshape(-1, packed.shape[1])
            before = len(past)
            packed = torch.cat(
                [past, packed, packed.new_zeros(self.sequence.batch_size + 1, value.shape[0])]
            )
        return RowBuffer(packed, before, value.shape[0])

    def _load_symbols(self, packed: Tensor, none: int, history: Tensor | None) -> RowBuffer:
        """Symbols as 32-bit integers, with `none` for −1, in front of the first step and behind."""
        rows = self.sequence.batch_size
        before = 0 if history is None else len(history) * rows
        buffer = torch.full((before + len(packed) + rows,), none, dtype=torch.int32)
        buffer[before : before + len(packed)] = torch.where(packed < 0, none, packed)
        if history is not None:
            past = self.sequence.sort_batch(history, 1).reshape(-1)
            buffer[:before] = torch.where(past < 0, none, past)
        return RowBuffer(buffer, before, 0)

    @property
    def _input_sizes(self) -> dict[str, int]:
        return {v.name: v.type.size for v in self.call.graph.inputs}

    def _is_at_end(self, kind: str, name: str) -> bool:
        return kind == "output" and any(o.at_end for o in self.call.graph.outputs if o.name == name)

    def _load_cotangent(self, value: Value) -> RowBuffer:
        kind, name = str(value.attributes[0]), str(value.attributes[1])
        given = self.cotangents.by_key.get((kind, name))
        rows, total, width = self.sequence, self.sequence.row_count, value.shape[0]
        at_end = self._is_at_end(kind, name)
        if given is not None and kind != "history" and not at_end:
            return self._row_buffer(self._pack_cotangent(kind, given).reshape(-1, width), value)
        buffer = torch.zeros(total + 1, self.layout.row_stride(value.id), dtype=self.program.dtype)
        if given is not None and at_end:
            live = rows.lengths > 0
            buffer[rows.last_rows[live], :width] = rows.sort_batch(given, 0)[live]
        elif given is not None:
            final = rows.carry_rows(len(given), self.boundary_kind(name)).reshape(-1)
            flat = rows.sort_batch(given, 1).reshape(-1, width)
            live = (final >= 0) & (final < total)
            buffer[final[live], :width] = flat[live]
        return RowBuffer(buffer, 0, width)

    def boundary_kind(self, name: str) -> str:
        """What lies outside of a variable's segments, as tables of rows call it."""
        return "drawn" if name in self.program.random_states else "bounded"

    def packed_rows(self, read: Operand) -> Tensor:
        """All rows (N, n) of what is read, of any rate."""
        known = self.get(read.value)
        rate = self.values[read.value].rate
        if isinstance(known, RowBuffer):
            if not read.delay:
                return known.view(self.sequence.row_count)
            return known.gather(self.sequence.row_index(self.layout.row_index_key(read)))
        if rate == "row":
            return known.index_select(0, self.sequence.batch_index_int32)
        return known.expand(self.sequence.row_count, *known.shape)


def copy_source(tensor: Tensor, item: int) -> tuple[int, int, int, int, int, int]:
    """The rows of a tensor for `copy_rows`: address, then extents and strides, and their width."""
    shape, strides = tensor.shape, tensor.stride()
    match len(shape):
        case 1:
            n0, s0, n1, s1 = 1, 0, 1, 0
        case 2:
            n0, s0, n1, s1 = 1, 0, shape[0], strides[0]
        case _:
            n0, s0, n1, s1 = shape[0], strides[0], shape[1], strides[1]
    return tensor.data_ptr(), n0, s0 * item, n1, s1 * item, shape[-1] * item
