"""The values of one call: what comes with it, and room for what is computed."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from ....operators.call import Call
from ...flow import Read, Value
from .program import Program
from .rows import Rows


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

    def pointer(self) -> int:
        """The address of the first row."""
        stride = self.buffer.stride(0) if self.buffer.dim() == 2 else 1
        return self.buffer.data_ptr() + self.base * stride * self.buffer.element_size()


Known = Tensor | Series


@dataclass(slots=True)
class Seeds:
    """The gradients that come in, by kind and name; None where there is none."""

    given: Mapping[tuple[str, str], Tensor | None] = field(default_factory=dict)


class Bindings:
    """Tensors of a call by the numbers of values.

    `known` has every value so far: (n,) or a matrix for those computed once a call, (B, n) for
    those of a row, a `Series` for those of all steps; batches are in the order of packed rows.
    """

    def __init__(self, program: Program, call: Call, rows: Rows) -> None:
        self.program, self.call, self.rows = program, call, rows
        self.layout, self.values = program.layout, program.layout.flow.values
        self.known: dict[int, Known] = {}
        self.seeds = Seeds()
        self._states = {s.name: s for s in call.graph.states}
        self._inputs = {v.name: v for v in call.graph.inputs}
        slots = len(self.values) + len(self.layout.tables)
        self._at = (ctypes.c_void_p * slots)()
        self._index = (ctypes.c_void_p * max(1, len(self.layout.indices)))()
        self._alive: dict[int, Tensor] = {}

    def get(self, number: int) -> Known:
        """A value that is computed already, or that comes with the call."""
        if number not in self.known:
            self.known[number] = self._source(self.values[number])
        return self.known[number]

    def room(self, value: Value) -> Series:
        """Room for a value of all steps; history and what is outside are filled in."""
        name = str(value.attributes[0]) if value.operation == "state" else ""
        delayed = value.number in self.layout.delayed
        width, stride = value.shape[0], self.layout.stride(value.number)
        total, rows = self.rows.total, self.rows.rows
        if value.operation != "state":
            buffer = torch.empty(total + 1, stride, dtype=self.program.dtype)
            if delayed:
                buffer[total].zero_()
            return Series(buffer, 0, width)
        history = self.call.history.get(name)
        before = 0 if history is None else len(history) * rows
        drawn = self.call.drawn.get(name)
        draws = None if drawn is None or self.rows.resets is None else self._draws(drawn)
        more = 0 if draws is None else len(draws)
        buffer = torch.empty(before + total + rows + more + 1, stride, dtype=self.program.dtype)
        if history is not None:
            self._fill(buffer, 0, self.rows.sorted(history, 1).reshape(before, width))
        self._fill(buffer, before + total, self.rows.sorted(self.call.initial[name], 0))
        if draws is not None:
            self._fill(buffer, before + total + rows, draws)
        return Series(buffer, before, width)

    def _draws(self, drawn: Tensor) -> Tensor:
        sorted_ = self.rows.sorted(drawn[: self.rows.steps], 1)
        return sorted_.reshape(-1, drawn.shape[-1]).index_select(0, self.rows.draws)

    def _fill(self, buffer: Tensor, start: int, rows: Tensor) -> None:
        target = buffer[start : start + len(rows)]
        target[:, : rows.shape[1]] = rows
        target[:, rows.shape[1] :] = 0

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
        assert value.operation == "seed", value.operation
        return self._seed(value)

    def _series(self, packed: Tensor, value: Value) -> Series:
        """Packed rows (N, n) as generated code wants them, not copied where they are so already."""
        stride = self.layout.stride(value.number)
        width = packed.shape[1]
        if width == stride and packed.is_contiguous() and value.number not in self.layout.delayed:
            return Series(packed, 0, width)
        buffer = packed.new_empty(len(packed) + 1, stride)
        self._fill(buffer, 0, packed)
        buffer[len(packed)].zero_()
        return Series(buffer, 0, width)

    def _input(self, value: Value) -> Series:
        name = str(value.attributes[0])
        series = self.call.inputs[name].detach()
        variable = self._inputs[name]
        packed = self.rows.packed(series)
        if value.shape == ():
            packed = packed.to(torch.int32)
            packed = torch.where(packed < 0, variable.type.size, packed)
        if value.number not in self.layout.delayed:
            return (
                Series(packed.contiguous(), 0, 0)
                if value.shape == ()
                else self._series(packed, value)
            )
        rows = self.rows.rows
        history = self.call.history.get(name)
        before = 0 if history is None else len(history) * rows
        total = len(packed)
        if value.shape == ():
            buffer = torch.full((before + total + rows,), variable.type.size, dtype=torch.int32)
            buffer[before : before + total] = packed
            if history is not None:
                past = self.rows.sorted(history, 1).reshape(-1)
                buffer[:before] = torch.where(past < 0, variable.type.size, past)
            return Series(buffer, before, 0)
        stride = self.layout.stride(value.number)
        buffer = packed.new_zeros(before + total + rows + 1, stride)
        self._fill(buffer, before, packed)
        if history is not None:
            past = self.rows.sorted(history, 1).reshape(before, -1)
            self._fill(buffer, 0, past)
        return Series(buffer, before, value.shape[0])

    def _seed(self, value: Value) -> Series:
        kind, name = str(value.attributes[0]), str(value.attributes[1])
        given = self.seeds.given.get((kind, name))
        rows, total = self.rows, self.rows.total
        outputs = {o.name: o for o in self.call.graph.outputs}
        at_end = kind == "output" and outputs[name].at_end
        if given is not None and kind == "law":
            return self._series(rows.packed(given.unsqueeze(-1)), value)
        if given is not None and (kind == "kept" or (kind == "output" and not at_end)):
            return self._series(rows.packed(given), value)
        buffer = torch.zeros(total + 1, self.layout.stride(value.number), dtype=self.program.dtype)
        width = value.shape[0]
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
        state = self._states.get(name)
        return "drawn" if state is not None and state.initial.kind == "uniform" else "bounded"

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
