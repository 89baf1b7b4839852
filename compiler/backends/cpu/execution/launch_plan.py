"""A pass whose calls differ in addresses alone, written down as one table (`run_again`, `calls.h`).

Such a pass has rows of one length, no resets, and nothing that is left to ATen.
"""

from __future__ import annotations

import ctypes
import math
from dataclasses import dataclass, field

from rnnc.compiler.backends.cpu.schedule.gemm_candidates import Either
from rnnc.compiler.backends.cpu.specialize.shape_specialization import Geometry, Place
from rnnc.compiler.calls.flattening import Key
from rnnc.compiler.ir.dataflow import Read, Value
from rnnc.operators.semantics.call import Call

BLOCKS = 2
"""Bases in front of those of tensors: the blocks of memory."""


class _Otherwise(Exception):
    """Something of a pass needs more than addresses."""


@dataclass(frozen=True)
class Tape:
    """The table, and how many tensors it takes addresses of, the results among them.

    shapes: of the results: all outputs, then what is carried on.
    jobs: what the table points to.
    """

    tensors: int
    shapes: tuple[tuple[int, ...], ...]
    table: ctypes.Array[ctypes.c_int64]
    jobs: ctypes.Array[ctypes.c_int64]
    geometry: Geometry


def tape_of(geometry: Geometry, call: Call) -> Tape | None:
    """The tape of a forward pass outside of training; None where addresses are not all.

    It takes the addresses of all parameters, inputs and histories in the order of this call.
    """
    kinds = {"parameter": call.parameters, "input": call.inputs, "history": call.history}
    keys = [(kind, name) for kind, named in kinds.items() for name in named]
    bases = {key: BLOCKS + at for at, key in enumerate(keys)}
    try:
        return _Writer(geometry, bases, {k: len(v) for k, v in call.history.items()}).tape()
    except _Otherwise:
        return None


@dataclass
class _Writer:
    geometry: Geometry
    bases: dict[Key, int]
    carried: dict[str, int]
    points: list[int] = field(default_factory=list)
    before: list[int] = field(default_factory=list)
    behind: list[int] = field(default_factory=list)
    shapes: list[tuple[int, ...]] = field(default_factory=list)
    free: set[int] = field(default_factory=set)
    """Values that are computed in results, and have none yet."""

    def tape(self) -> Tape:
        geometry = self.geometry
        if any(segment.outside for segment in geometry.segments) or not geometry.rows.is_plain:
            raise _Otherwise
        for segment in geometry.segments:
            if segment.looked_up or segment.windows or segment.sums:
                raise _Otherwise
            for number in segment.sources:
                self._source(self._value(number))
            for number in segment.states:
                self._state(self._value(number))
        self._results()
        numbers: list[int] = []
        for index, segment in enumerate(geometry.segments):
            if segment.compiled:
                numbers += self._jobs(index)
        jobs = (ctypes.c_int64 * len(numbers))(*numbers)
        table = [ctypes.addressof(jobs), len(numbers), geometry.layout.slots]
        table += [len(self.points) // 2, len(self.before) // 10, len(self.behind) // 10]
        table += [*geometry.numbers, *self.points, *self.before, *self.behind]
        written = (ctypes.c_int64 * len(table))(*table)
        count = len(self.bases) + len(self.shapes)
        return Tape(count, tuple(self.shapes), written, jobs, geometry)

    def _jobs(self, index: int) -> list[int]:
        atoms = self.geometry.work_of[index]
        if any(isinstance(atom, Either) for atom in atoms):
            raise _Otherwise
        tables = self.geometry.steps(atoms)
        return [n for table in tables if isinstance(table, ctypes.Array) for n in table]

    def _value(self, number: int) -> Value:
        return self.geometry.layout.flow.values[number]

    def _at(self, place: Place, row: int) -> tuple[int, int]:
        return place.block, (place.first + row * place.stride) * self.geometry.item

    def _take(self, number: int, base: int, row: int, count: int) -> None:
        """Copy rows of a tensor, which lie side by side, to the place of a value."""
        place, item = self.geometry.places[number], self.geometry.item
        width = self._value(number).shape[0] * item
        self.before += (*self._at(place, row), base, 0, 1, 0, count, width)
        self.before += (width, place.stride * item)

    def _source(self, value: Value) -> None:
        number, rows = value.number, self.geometry.rows
        if value.shape == () or value.operation not in {"parameter", "input"}:
            raise _Otherwise
        base = self.bases[value.operation, str(value.attributes[0])]
        if value.operation == "parameter" and len(value.shape) == 1:
            self._take(number, base, 0, 1)
        elif value.operation == "parameter" and len(value.shape) == 3:
            raise _Otherwise
        elif number in self.geometry.places:
            self._take(number, base, 0, rows.total)
            if number in self.geometry.layout.delayed:
                self._history(value)
        else:
            self.points += (number, base)

    def _history(self, value: Value) -> None:
        name = str(value.attributes[0])
        steps = self.carried.get(name, 0)
        if steps:
            count = steps * self.geometry.rows.rows
            self._take(value.number, self.bases["history", name], -count, count)

    def _state(self, value: Value) -> None:
        # What lies outside of a segment is read by states alone that have no history.
        if str(value.attributes[0]) not in self.carried:
            raise _Otherwise
        self._history(value)

    def _results(self) -> None:
        geometry, program = self.geometry, self.geometry.program
        flow, rows = geometry.layout.flow, geometry.rows
        self.free.update(geometry.handed)
        for output, read in zip(flow.graph.outputs, flow.outputs, strict=True):
            last = (rows.steps - 1) * rows.rows if output.at_end else 0
            self._give(read, last, () if output.at_end else (rows.steps,))
        for name, steps in self.carried.items():
            number = program.carried.get(name)
            if number is None:
                raise _Otherwise
            self._give(Read(number), rows.total - steps * rows.rows, (steps,))
        if self.free:
            raise _Otherwise

    def _give(self, read: Read, row: int, lead: tuple[int, ...]) -> None:
        """Copy rows of a value to a result, or have them computed there."""
        place = self.geometry.places.get(read.value)
        shape = (*lead, self.geometry.rows.rows, self._value(read.value).shape[0])
        base = BLOCKS + len(self.bases) + len(self.shapes)
        self.shapes.append(shape)
        if read.value in self.free and lead and not read.delay:
            self.points += (read.value, base)
            self.free.remove(read.value)
            return
        if place is None or read.delay or self._value(read.value).rate != "step":
            raise _Otherwise
        item = self.geometry.item
        count, width = math.prod(shape[:-1]), shape[-1] * item
        self.behind += (base, 0, *self._at(place, row), 1, 0, count, place.stride * item)
        self.behind += (width, width)
