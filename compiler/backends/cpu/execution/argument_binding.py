"""Argument binding: the tensors of one call as pointers and row copies for compiled code.

A source is read in place where its rows have the stride of the frame layout; otherwise a copy is
queued, which the job runner makes before its jobs. Packed and padded copies are made by torch.
"""

from __future__ import annotations

import ctypes
from typing import Final

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
from .row_buffer import BoundValue, IncomingCotangents, RowBuffer, copy_source

_ALIGNMENT: Final = 64
"""Bytes of a cache line, and of the widest vectors."""


class ArgumentBindings:
    """Tensors of a call by the ids of values.

    bound_values: values that ATen has met so far: (n,) or a matrix if of a call, (B, n) if of a
        row, a `RowBuffer` if of all steps; batches are sorted like packed rows.
    """

    def __init__(
        self,
        program: CompiledProgram,
        call: Call,
        sequence: PackedSequence,
        specialization: ShapeSpecialization,
    ) -> None:
        self.program, self.call = program, call
        self.sequence, self.specialization = sequence, specialization
        self.layout, self.values = program.layout, program.layout.flow.values
        self.bound_values: dict[int, BoundValue] = {}
        self.cotangents = IncomingCotangents()
        self.blocks: list[Tensor] = []
        self._block_addresses = [0, 0]
        self._pointers = (ctypes.c_void_p * self.layout.slot_count)()
        self._row_copies: list[int] = []
        self._window_indices: dict[WindowKey, Tensor] = {}
        self._keepalive: list[Tensor] = []
        # Direct results that no output has taken yet.
        self._result_tensors: dict[int, Tensor] = {}

    def allocate(self, residuals: Tensor | None) -> None:
        """Allocate both blocks and the direct results; `residuals` is the forward pass's block."""
        if residuals is not None and residuals.data_ptr() % _ALIGNMENT:
            # Torch aligns its own memory; saved-tensor hooks may have moved the block.
            residuals = residuals.clone()
        specialization = self.specialization
        margin = _ALIGNMENT // specialization.itemsize
        sizes = (specialization.block_sizes[RESIDUAL_BLOCK], specialization.scratch_size)
        for block, size in enumerate(sizes):
            if block == RESIDUAL_BLOCK:
                tensor = residuals
            else:
                tensor = self.program.workspaces.take(size + margin)
            if tensor is None:
                tensor = torch.empty(size + margin, dtype=self.program.dtype)
                if size > MIN_HUGE_PAGE_NUMBERS:
                    advise_huge_pages(tensor)
            self.blocks.append(tensor)
            self._block_addresses[block] = -(-tensor.data_ptr() // _ALIGNMENT) * _ALIGNMENT
        for value_id in specialization.direct_results:
            width = self.values[value_id].shape[0]
            rows = torch.empty(self.sequence.row_count, width, dtype=self.program.dtype)
            self.bound_values[value_id] = RowBuffer(rows, 0, width)
            self._pointers[value_id] = rows.data_ptr()
            self._result_tensors[value_id] = rows

    def get(self, value_id: int) -> BoundValue:
        """Return a value for ATen: a view of what compiled code stored, or a source."""
        bound = self.bound_values.get(value_id)
        if bound is None:
            bound = self._view_stored(value_id) or self._load_source(self.values[value_id])
            self.bound_values[value_id] = bound
        return bound

    def packed_rows(self, operand: Operand) -> Tensor:
        """Return all rows (N, n) of an operand of any rate."""
        bound = self.get(operand.value)
        if isinstance(bound, RowBuffer):
            if not operand.delay:
                return bound.view(self.sequence.row_count)
            return bound.gather(self.sequence.row_index(self.layout.row_index_key(operand)))
        if self.values[operand.value].rate == "row":
            return bound.index_select(0, self.sequence.batch_index_int32)
        return bound.expand(self.sequence.row_count, *bound.shape)

    def boundary_kind(self, name: str) -> str:
        """Return the boundary of a state or input, as in `RowIndexKey`."""
        return "drawn" if name in self.program.random_states else "bounded"

    def bind_source(self, value_id: int) -> None:
        """Point the slot of a source at its tensor, or queue a copy to its region."""
        value = self.values[value_id]
        if value.operation == "parameter":
            tensor = self.call.parameters[value.attributes[0]]  # type: ignore[index]
            if len(value.shape) == 1:
                self._queue_copy(value_id, tensor)
            else:
                self._bind_matrix(value_id, tensor.detach())
        elif value.operation == "input":
            self._bind_input(value)
        elif value.operation == "seed":
            self._bind_cotangent(value)
        else:
            bound = self.get(value_id)
            if isinstance(bound, RowBuffer):
                self._bind_rows(value_id, bound.view(self.sequence.row_count))
            elif value_id in self.specialization.regions:
                self._queue_copy(value_id, bound)
            else:
                self._bind_matrix(value_id, bound)

    def bind_state(self, value: Value) -> None:
        """Queue copies of a state's carry and of its boundary values."""
        name, value_id, sequence = str(value.attributes[0]), value.id, self.sequence
        carry = self.call.carry.get(name)
        if carry is not None:
            first = -len(carry) * sequence.batch_size
            self._queue_copy(value_id, sequence.sort_batch(carry, 1), first)
        initial_values = sequence.sort_batch(self.call.initial_values[name], 0)
        self._queue_copy(value_id, initial_values, sequence.row_count)
        drawn = self.call.reset_values.get(name)
        if drawn is not None and sequence.resets is not None:
            draws = sequence.sort_batch(drawn[: sequence.steps], 1).reshape(-1, drawn.shape[-1])
            at_resets = draws.index_select(0, sequence.reset_positions)
            self._queue_copy(value_id, at_resets, sequence.row_count + sequence.batch_size)

    def bind_lookup_table(self, value: Value) -> None:
        """Bind the matrix that symbols look up in: a row for each symbol, and one of zeros."""
        slot = self.layout.lookup_table_slot(value)
        if self._pointers[slot] is not None:
            return
        if value.operation == "onehot":
            matrix = torch.eye(value.shape[0], dtype=self.program.dtype)
        else:
            weight = self.get(value.operands[0].value)
            assert isinstance(weight, Tensor)
            weight = _flatten_blocks(weight)
            matrix = weight if value.attributes[0] else weight.t()
        width = self.layout.padded_width(matrix.shape[1])
        table = F.pad(matrix, (0, width - matrix.shape[1], 0, 1))
        self._keepalive.append(table)
        self._pointers[slot] = table.data_ptr()

    def bind_window_index(self, key: WindowKey) -> None:
        """Point the slot of a window index at its table."""
        self._pointers[self.layout.window_slots[key]] = self.window_index(key).data_ptr()

    def window_index(self, key: WindowKey) -> Tensor:
        """Return a window index of this call, whose first segments may have begun earlier."""
        if key not in self._window_indices:
            age = None if self.call.age is None else self.sequence.sort_batch(self.call.age, 0)
            self._window_indices[key] = compute_window_index(self.sequence, key, age)
        return self._window_indices[key]

    def _view_stored(self, value_id: int) -> RowBuffer | None:
        region = self.specialization.regions.get(value_id)
        value = self.values[value_id]
        if region is None or value.operation in SOURCE_OPS:
            return None
        block = self.blocks[region.block]
        margin = self._block_addresses[region.block] - block.data_ptr()
        shift = margin // self.specialization.itemsize
        shape, strides = (region.rows, region.stride), (region.stride, 1)
        rows = block.as_strided(shape, strides, block.storage_offset() + shift + region.start)
        return RowBuffer(rows, region.rows_before, value.shape[0])

    def _bind_matrix(self, value_id: int, matrix: Tensor) -> None:
        self._bind_pointer(value_id, _flatten_blocks(matrix))

    def _bind_pointer(self, value_id: int, tensor: Tensor) -> None:
        if not tensor.is_contiguous():
            tensor = tensor.contiguous()
        self._keepalive.append(tensor)
        self._pointers[value_id] = tensor.data_ptr()

    def _bind_rows(self, value_id: int, rows: Tensor) -> None:
        """Bind packed rows (N, n), or (T, B, n) where that is the same."""
        if value_id in self.specialization.regions:
            self._queue_copy(value_id, rows)
        else:
            self._bind_pointer(value_id, rows)

    def _bind_input(self, value: Value) -> None:
        name, value_id = str(value.attributes[0]), value.id
        if value.shape == ():
            symbols = self.get(value_id)
            assert isinstance(symbols, RowBuffer)
            self._pointers[value_id] = symbols.buffer.data_ptr() + 4 * symbols.first_row
            return
        series = self.call.inputs[name]
        self._bind_rows(value_id, series if self.sequence.is_dense else self.sequence.pack(series))
        carry = self.call.carry.get(name)
        if carry is not None and value_id in self.layout.delayed_values:
            first = -len(carry) * self.sequence.batch_size
            self._queue_copy(value_id, self.sequence.sort_batch(carry, 1), first)

    def _bind_cotangent(self, value: Value) -> None:
        kind, name = str(value.attributes[0]), str(value.attributes[1])
        cotangent = self.cotangents.by_key.get((kind, name))
        stride_slot = self.layout.cotangent_stride_slots.get(value.id)
        if stride_slot is not None:
            stride = 0 if cotangent is None else self.layout.row_stride(value.id)
            self._pointers[stride_slot] = stride
        if cotangent is None and stride_slot is not None:
            zeros = torch.zeros(1, self.layout.row_stride(value.id), dtype=self.program.dtype)
            self._bind_rows(value.id, zeros[:, : value.shape[0]])
        elif cotangent is None or kind == "history" or self._is_at_end(kind, name):
            buffer = self.get(value.id)
            assert isinstance(buffer, RowBuffer)
            self._bind_rows(value.id, buffer.view(self.sequence.row_count))
        else:
            self._bind_rows(value.id, self._pack_cotangent(kind, cotangent))

    def _queue_copy(self, value_id: int, tensor: Tensor, row: int = 0) -> None:
        """Queue a copy of a tensor's rows to the region of a value, from some row of it on."""
        if not tensor.numel():
            return
        if tensor.stride(-1) != 1:
            tensor = tensor.contiguous()
        # The copy is made later, with the next jobs.
        self._keepalive.append(tensor)
        region, itemsize = self.specialization.regions[value_id], self.specialization.itemsize
        offset = (region.first_offset + row * region.stride) * itemsize
        target = self._block_addresses[region.block] + offset
        self._row_copies += (target, *copy_source(tensor, itemsize), region.stride * itemsize)

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
                first, last = (int(bound) for bound in value.attributes)
                exists = self.window_index(("rows", first, last)) != MISSING
                return self._row_buffer(exists.to(self.program.dtype), value)
        assert value.operation == "seed", value.operation
        return self._load_cotangent(value)

    def _row_buffer(self, packed: Tensor, value: Value) -> RowBuffer:
        """Wrap packed rows; behind delayed values comes the row of zeros that others read."""
        if value.id in self.layout.delayed_values:
            packed = torch.cat([packed, packed.new_zeros(1, packed.shape[1])])
        return RowBuffer(packed, 0, value.shape[0])

    def _load_input(self, value: Value) -> RowBuffer:
        """Load a series: delayed ones with their carry in front and boundary values behind."""
        name = str(value.attributes[0])
        packed = self.sequence.pack(self.call.inputs[name].detach())
        carry = self.call.carry.get(name)
        is_delayed = value.id in self.layout.delayed_values
        if value.shape == ():
            sizes = {variable.name: variable.type.size for variable in self.call.graph.inputs}
            return self._load_symbols(packed, sizes[name], carry if is_delayed else None)
        if not is_delayed:
            return RowBuffer(packed, 0, value.shape[0])
        carry_rows = packed.new_empty(0, packed.shape[1])
        if carry is not None:
            carry_rows = self.sequence.sort_batch(carry, 1).reshape(-1, packed.shape[1])
        boundary = packed.new_zeros(self.sequence.batch_size + 1, value.shape[0])
        buffer = torch.cat([carry_rows, packed, boundary])
        return RowBuffer(buffer, len(carry_rows), value.shape[0])

    def _load_symbols(self, packed: Tensor, no_symbol: int, carry: Tensor | None) -> RowBuffer:
        """Load symbols as int32; `no_symbol` stands for −1, before the first step and behind."""
        batch_size = self.sequence.batch_size
        before = 0 if carry is None else len(carry) * batch_size
        size = before + len(packed) + batch_size
        buffer = torch.full((size,), no_symbol, dtype=torch.int32)
        buffer[before : before + len(packed)] = torch.where(packed < 0, no_symbol, packed)
        if carry is not None:
            symbols = self.sequence.sort_batch(carry, 1).reshape(-1)
            buffer[:before] = torch.where(symbols < 0, no_symbol, symbols)
        return RowBuffer(buffer, before, 0)

    def _is_at_end(self, kind: str, name: str) -> bool:
        return kind == "output" and any(o.at_end for o in self.call.graph.outputs if o.name == name)

    def _pack_cotangent(self, kind: str, cotangent: Tensor) -> Tensor:
        series = cotangent.unsqueeze(-1) if kind == "law" else cotangent
        return series if self.sequence.is_dense else self.sequence.pack(series)

    def _load_cotangent(self, value: Value) -> RowBuffer:
        """Load a cotangent of all steps; those of last steps and of the carry are scattered."""
        kind, name = str(value.attributes[0]), str(value.attributes[1])
        cotangent = self.cotangents.by_key.get((kind, name))
        sequence, row_count, width = self.sequence, self.sequence.row_count, value.shape[0]
        at_end = self._is_at_end(kind, name)
        if cotangent is not None and kind != "history" and not at_end:
            packed = self._pack_cotangent(kind, cotangent).reshape(-1, width)
            return self._row_buffer(packed, value)
        stride = self.layout.row_stride(value.id)
        buffer = torch.zeros(row_count + 1, stride, dtype=self.program.dtype)
        if cotangent is not None and at_end:
            nonempty = sequence.lengths > 0
            last_rows = sequence.last_rows[nonempty]
            buffer[last_rows, :width] = sequence.sort_batch(cotangent, 0)[nonempty]
        elif cotangent is not None:
            rows = sequence.carry_rows(len(cotangent), self.boundary_kind(name)).reshape(-1)
            gradients = sequence.sort_batch(cotangent, 1).reshape(-1, width)
            inside = (rows >= 0) & (rows < row_count)
            buffer[rows[inside], :width] = gradients[inside]
        return RowBuffer(buffer, 0, width)


def _flatten_blocks(matrix: Tensor) -> Tensor:
    """Return a block-diagonal matrix (k, m, n) as (k m, k n), any other one as it is."""
    if matrix.dim() != 3:
        return matrix
    flat: Tensor = torch.block_diag(*matrix)  # type: ignore[no-untyped-call]
    return flat
