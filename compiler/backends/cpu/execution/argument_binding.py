"""The values of one call: what comes with it, as compiled code wants it."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from rnnc.compiler.backends.cpu.schedule.buffer_slots import SAVED
from rnnc.compiler.backends.cpu.schedule.window_access import WindowKey
from rnnc.compiler.backends.cpu.specialize.compiled_program import Program
from rnnc.compiler.backends.cpu.specialize.packed_sequence import Rows
from rnnc.compiler.backends.cpu.specialize.shape_specialization import Geometry
from rnnc.compiler.backends.cpu.specialize.window_index import MISSING, window_table
from rnnc.compiler.ir.dataflow import Read, Value
from rnnc.compiler.ir.ops import SOURCES
from rnnc.operators.semantics.call import Call

from .huge_pages import LARGE, in_large_pages


@dataclass(slots=True)
class Series:
    """A value of all steps: rows of a buffer, the first step's at `base` (see `Rows`)."""

    buffer: Tensor
    base: int
    width: int

    def at(self, rows: Tensor) -> Tensor:
        """Some of the rows."""
        found = self.buffer.index_select(0, rows + self.base)
        return found[:, : self.width] if found.dim() == 2 else found

    def all(self, total: int) -> Tensor:
        """The rows of all steps, a view."""
        rows = self.buffer[self.base : self.base + total]
        return rows[:, : self.width] if rows.dim() == 2 else rows


Known = Tensor | Series


@dataclass(slots=True)
class Seeds:
    """The gradients that come in, by kind and name; None where there is none."""

    given: Mapping[tuple[str, str], Tensor | None] = field(default_factory=dict)


class Bindings:
    """Tensors of a call by the numbers of values.

    `known` has what ATen has met so far: (n,) or a matrix for those computed once a call, (B, n)
    for those of a row, a `Series` for those of all steps; batches are in the order of packed rows.
    """

    def __init__(self, program: Program, call: Call, rows: Rows, geometry: Geometry) -> None:
        self.program, self.call, self.rows, self.geometry = program, call, rows, geometry
        self.layout, self.values = program.layout, program.layout.flow.values
        self.known: dict[int, Known] = {}
        self.seeds = Seeds()
        self.blocks: list[Tensor] = []
        self._address = [0, 0]
        self._at = (ctypes.c_void_p * self.layout.slots)()
        self._copies: list[int] = []
        self._windows: dict[WindowKey, Tensor] = {}
        self._alive: list[Tensor] = []
        self._handed: dict[int, Tensor] = {}
        """Results in tensors of their own that nobody has yet."""

    def make_room(self, saved: Tensor | None) -> None:
        """Memory for all that is computed; `saved` is what the forward pass has left."""
        if saved is not None and saved.data_ptr() % 64:
            # Torch's own memory begins at multiples of 64 bytes; hooks may have moved it.
            saved = saved.clone()
        line = 64 // self.geometry.item
        for block, size in enumerate((self.geometry.sizes[SAVED], self.geometry.scratch)):
            tensor = saved if block == SAVED else self.program.spare(size + line)
            if tensor is None:
                tensor = torch.empty(size + line, dtype=self.program.dtype)
                if size > LARGE:
                    in_large_pages(tensor)
            self.blocks.append(tensor)
            self._address[block] = -(-tensor.data_ptr() // 64) * 64
        for number in self.geometry.handed:
            width = self.values[number].shape[0]
            rows = torch.empty(self.rows.total, width, dtype=self.program.dtype)
            self.known[number] = Series(rows, 0, width)
            self._at[number] = rows.data_ptr()
            self._handed[number] = rows

    def get(self, number: int) -> Known:
        """A value that is computed already, or that comes with the call."""
        known = self.known.get(number)
        if known is None:
            known = self._stored(number) or self._source(self.values[number])
            self.known[number] = known
        return known

    def _stored(self, number: int) -> Series | None:
        """What compiled code has computed, as a view."""
        place = self.geometry.places.get(number)
        value = self.values[number]
        if place is None or value.operation in SOURCES:
            return None
        block = self.blocks[place.block]
        shift = (self._address[place.block] - block.data_ptr()) // self.geometry.item
        shape, strides = (place.rows, place.stride), (place.stride, 1)
        rows = block.as_strided(shape, strides, block.storage_offset() + shift + place.start)
        return Series(rows, place.base, value.shape[0])

    def bind(self, number: int) -> None:
        """Put the address of a source into its slot, or have it copied to its place."""
        value = self.values[number]
        if value.operation == "parameter":
            tensor = self.call.parameters[value.attributes[0]]  # type: ignore[index]
            if len(value.shape) == 1:
                self._copy(number, tensor)
                return
            if len(value.shape) == 3:
                tensor = torch.block_diag(*tensor.detach())  # type: ignore[no-untyped-call]
            self._point(number, tensor)
        elif value.operation == "input":
            self._bind_input(value)
        elif value.operation == "seed":
            self._bind_seed(value)
        else:
            known = self.get(number)
            if isinstance(known, Series):
                self._bind_rows(number, known.all(self.rows.total))
            elif number in self.geometry.places:
                self._copy(number, known)
            else:
                matrix = torch.block_diag(*known) if known.dim() == 3 else known  # type: ignore[no-untyped-call]
                self._point(number, matrix)

    def _point(self, number: int, tensor: Tensor) -> None:
        if not tensor.is_contiguous():
            tensor = tensor.contiguous()
        self._alive.append(tensor)
        self._at[number] = tensor.data_ptr()

    def _bind_rows(self, number: int, rows: Tensor) -> None:
        """Packed rows (N, n), or (T, B, n) where that is the same."""
        if number in self.geometry.places:
            self._copy(number, rows)
        else:
            self._point(number, rows)

    def _bind_input(self, value: Value) -> None:
        name, number = str(value.attributes[0]), value.number
        if value.shape == ():
            series = self.get(number)
            assert isinstance(series, Series)
            self._at[number] = series.buffer.data_ptr() + 4 * series.base
            return
        series = self.call.inputs[name]
        self._bind_rows(number, series if self.rows.is_dense else self.rows.packed(series))
        history = self.call.history.get(name)
        if history is not None and number in self.layout.delayed:
            self._copy(number, self.rows.sorted(history, 1), -len(history) * self.rows.rows)

    def _bind_seed(self, value: Value) -> None:
        kind, name = str(value.attributes[0]), str(value.attributes[1])
        given = self.seeds.given.get((kind, name))
        step = self.layout.steps.get(value.number)
        if step is not None:
            self._at[step] = 0 if given is None else self.layout.stride(value.number)
        if given is None and step is not None:
            zeros = torch.zeros(1, self.layout.stride(value.number), dtype=self.program.dtype)
            self._bind_rows(value.number, zeros[:, : value.shape[0]])
            return
        if given is None or kind == "history" or self._is_at_end(kind, name):
            series = self.get(value.number)
            assert isinstance(series, Series)
            self._bind_rows(value.number, series.all(self.rows.total))
            return
        self._bind_rows(value.number, self._seeded(kind, given))

    def _seeded(self, kind: str, given: Tensor) -> Tensor:
        series = given.unsqueeze(-1) if kind == "law" else given
        return series if self.rows.is_dense else self.rows.packed(series)

    def bind_state(self, value: Value) -> None:
        """Copy what a state is before the first step, and outside of segments."""
        name, number, rows = str(value.attributes[0]), value.number, self.rows
        history = self.call.history.get(name)
        if history is not None:
            self._copy(number, rows.sorted(history, 1), -len(history) * rows.rows)
        self._copy(number, rows.sorted(self.call.initial[name], 0), rows.total)
        drawn = self.call.drawn.get(name)
        if drawn is not None and rows.resets is not None:
            sorted_ = rows.sorted(drawn[: rows.steps], 1).reshape(-1, drawn.shape[-1])
            self._copy(number, sorted_.index_select(0, rows.draws), rows.total + rows.rows)

    def bind_table(self, value: Value) -> None:
        """The matrix that a symbol looks up in, a row for each symbol and one of zeros."""
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
        self._alive.append(table)
        self._at[slot] = table.data_ptr()

    def window(self, key: WindowKey) -> Tensor:
        """The table of a window's rows; of this call, whose segments may be older than it."""
        if key not in self._windows:
            age = None if self.call.age is None else self.rows.sorted(self.call.age, 0)
            self._windows[key] = window_table(self.rows, key, age)
        return self._windows[key]

    def bind_window(self, key: WindowKey) -> None:
        """Put the address of such a table into its slot."""
        self._at[self.layout.windows[key]] = self.window(key).data_ptr()

    def _copy(self, number: int, tensor: Tensor, row: int = 0) -> None:
        """Have the rows of a tensor copied to the place of a value, from one of its rows on."""
        if not tensor.numel():
            return
        if tensor.stride(-1) != 1:
            tensor = tensor.contiguous()
        # Until the copy is made the tensor must not go.
        self._alive.append(tensor)
        place, item = self.geometry.places[number], self.geometry.item
        to = self._address[place.block] + (place.first + row * place.stride) * item
        self._copies += (to, *rows_at(tensor, item), place.stride * item)

    def _source(self, value: Value) -> Known:
        match value.operation:
            case "parameter":
                return self.call.parameters[str(value.attributes[0])].detach()
            case "constant":
                number = float(value.attributes[0])
                return torch.full((1,), number, dtype=self.program.dtype)
            case "input":
                return self._input(value)
            case "mask":
                mask = self.call.masks[int(value.attributes[0])].to(self.program.dtype)
                if value.rate == "row":
                    return self.rows.sorted(mask, 0)
                return self._series(self.rows.packed(mask), value)
            case "present":
                first, last = (int(end) for end in value.attributes)
                there = self.window(("rows", first, last)) != MISSING
                return self._series(there.to(self.program.dtype), value)
        assert value.operation == "seed", value.operation
        return self._seed(value)

    def _series(self, packed: Tensor, value: Value) -> Series:
        """Packed rows, with zeros behind them for who reads at another step."""
        if value.number in self.layout.delayed:
            packed = torch.cat([packed, packed.new_zeros(1, packed.shape[1])])
        return Series(packed, 0, value.shape[0])

    def _input(self, value: Value) -> Series:
        name = str(value.attributes[0])
        packed = self.rows.packed(self.call.inputs[name].detach())
        history = self.call.history.get(name)
        delayed = value.number in self.layout.delayed
        if value.shape == ():
            return self._symbols(packed, self._inputs[name], history if delayed else None)
        before = 0
        if delayed:
            past = packed.new_empty(0, packed.shape[1])
            if history is not None:
                past = self.rows.sorted(history, 1).reshape(-1, packed.shape[1])
            before = len(past)
            packed = torch.cat([past, packed, packed.new_zeros(self.rows.rows + 1, value.shape[0])])
        return Series(packed, before, value.shape[0])

    def _symbols(self, packed: Tensor, none: int, history: Tensor | None) -> Series:
        """Symbols as 32-bit integers, with `none` for −1, in front of the first step and behind."""
        rows = self.rows.rows
        before = 0 if history is None else len(history) * rows
        buffer = torch.full((before + len(packed) + rows,), none, dtype=torch.int32)
        buffer[before : before + len(packed)] = torch.where(packed < 0, none, packed)
        if history is not None:
            past = self.rows.sorted(history, 1).reshape(-1)
            buffer[:before] = torch.where(past < 0, none, past)
        return Series(buffer, before, 0)

    @property
    def _inputs(self) -> dict[str, int]:
        return {v.name: v.type.size for v in self.call.graph.inputs}

    def _is_at_end(self, kind: str, name: str) -> bool:
        return kind == "output" and any(o.at_end for o in self.call.graph.outputs if o.name == name)

    def _seed(self, value: Value) -> Series:
        kind, name = str(value.attributes[0]), str(value.attributes[1])
        given = self.seeds.given.get((kind, name))
        rows, total, width = self.rows, self.rows.total, value.shape[0]
        at_end = self._is_at_end(kind, name)
        if given is not None and kind != "history" and not at_end:
            return self._series(self._seeded(kind, given).reshape(-1, width), value)
        buffer = torch.zeros(total + 1, self.layout.stride(value.number), dtype=self.program.dtype)
        if given is not None and at_end:
            live = rows.lengths > 0
            buffer[rows.last[live], :width] = rows.sorted(given, 0)[live]
        elif given is not None:
            final = rows.final(len(given), self.outside_of(name)).reshape(-1)
            flat = rows.sorted(given, 1).reshape(-1, width)
            live = (final >= 0) & (final < total)
            buffer[final[live], :width] = flat[live]
        return Series(buffer, 0, width)

    def outside_of(self, name: str) -> str:
        """What lies outside of a variable's segments, as tables of rows call it."""
        return "drawn" if name in self.program.drawn else "bounded"

    def rows_of(self, read: Read) -> Tensor:
        """All rows (N, n) of what is read, of any rate."""
        known = self.get(read.value)
        rate = self.values[read.value].rate
        if isinstance(known, Series):
            if not read.delay:
                return known.all(self.rows.total)
            return known.at(self.rows.index(self.layout.index_key(read)))
        if rate == "row":
            return known.index_select(0, self.rows.row_of)
        return known.expand(self.rows.total, *known.shape)


def rows_at(tensor: Tensor, item: int) -> tuple[int, int, int, int, int, int]:
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
