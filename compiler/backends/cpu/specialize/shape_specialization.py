"""A pass for one T and B (and lengths): where every value lies, and the jobs of compiled code."""

from __future__ import annotations

import ctypes
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Final

from rnnc.compiler.backends.cpu.schedule.buffer_slots import SCRATCH, Slot
from rnnc.compiler.backends.cpu.schedule.gemm_candidates import (
    Either,
    Helped,
    Landing,
    Part,
    Theirs,
)
from rnnc.compiler.backends.cpu.schedule.kernel_partition import Unit
from rnnc.compiler.backends.cpu.schedule.weight_grad_groups import Group, together
from rnnc.compiler.ir.dataflow import Read, Value

from .packed_sequence import Rows
from .weight_grad_blocking import outer_room

if TYPE_CHECKING:
    from .compiled_program import Program

UNIT, OUTER, TOTAL, ZERO, INDEXED = 1, 2, 3, 4, 5
"""Kinds of jobs (`calls.h`)."""

WORTH_KEEPING = 1 << 20
"""Numbers of a scratch block from which it is kept for the next pass."""

ENOUGH_TO_PACK = 33
"""Rows of all steps from which packing matrices costs less than it saves."""

ENOUGH_TO_CHOOSE = 50_000_000
"""Multiplications from which it is worth a call of its own to have torch take a product."""

ALL_STAGES: Final = 1 << 30
"""More than a unit has."""

ENOUGH_FOR_TWO = 1_000_000
"""Multiplications below which starting a second thread costs more than it saves."""

ENOUGH_TO_ADD = 250_000
"""The same in additions, whose operands come from memory."""

ENOUGH_TO_WAIT = 500_000
"""Weights of a step from which threads that share it save more than their waiting costs."""

ENOUGH_ROWS = 32
"""Rows that make up for reading so many weights from memory at every step."""


@dataclass(frozen=True, slots=True)
class Place:
    """Rows of a block of memory; `base` is the row of the first step. In numbers, not bytes."""

    block: int
    start: int
    rows: int
    stride: int
    base: int

    @property
    def first(self) -> int:
        """Where the first row of the first step lies."""
        return self.start + self.base * self.stride


@dataclass(frozen=True, slots=True)
class Recipe:
    """How the sources of a segment are bound; parameters, which are most of them, at little cost.

    matrices: value and parameter, read where it lies.
    vectors: value and parameter, its place in the scratch block, its bytes, those of the place.
    """

    matrices: tuple[tuple[int, str], ...]
    vectors: tuple[tuple[int, str, int, int, int], ...]
    others: tuple[int, ...]


Atom = tuple[int, ...] | Part | Group | Theirs | Landing | Either
"""Work: numbers of a job, some of a unit's stages, sums, what torch does, or one of two ways."""

Step = ctypes.Array[ctypes.c_int64] | Landing | Theirs
"""A table of jobs, or what torch does."""


class Geometry:
    """Everything about a pass that is the same for all calls with these rows and threads."""

    def __init__(self, program: Program, rows: Rows, threads: int, *, adjoint: bool) -> None:
        self.program, self.rows, self.threads, self.adjoint = program, rows, threads, adjoint
        self.layout = program.layout
        self.segments = program.segments(adjoint=adjoint)
        self.memory = program.memory(adjoint=adjoint)
        self.item = 8 if program.double else 4
        self.places: dict[int, Place] = {}
        """By value."""
        self.settled: dict[int, tuple[Step, ...]] = {}
        """By segment: how its work is done."""
        self.handed: tuple[int, ...] = ()
        """Results that are computed in tensors of their own."""
        self.sizes = self._lay_out()
        """How many numbers each block holds."""
        tables = [rows.index(key).data_ptr() for key in self.layout.indices]
        self._index = (ctypes.c_void_p * max(1, len(tables)))(*tables)
        flat = [
            x
            for number, place in self.places.items()
            for x in (number, place.block, *self._bytes(place))
        ]
        self._table = (ctypes.c_int64 * max(1, len(flat)))(*flat)
        self.numbers = (
            *(size * self.item for size in self.sizes),
            self.work * self.item,
            ctypes.addressof(self._table),
            len(self.places),
            ctypes.addressof(self._index),
            rows.row_of.data_ptr(),
            rows.offset.data_ptr(),
            rows.steps,
            rows.rows,
            rows.total,
        )
        """What a call is told, behind the addresses of its blocks (`calls.h`)."""

    def _bytes(self, place: Place) -> tuple[int, int, int]:
        end = place.start + place.rows * place.stride
        return place.first * self.item, place.start * self.item, end * self.item

    def _lay_out(self) -> tuple[int, int]:
        sizes, line = [0, 0], 64 // self.item
        seen = [0, 0]
        found: list[Place] = []
        for slot in self.memory.slots:
            # Slots of equal size would begin at equal distances from a page's start, and what is
            # stored to one would seem to hit what is loaded from another. The gap catches errors.
            start = sizes[slot.block] + line * (1 + 9 * seen[slot.block] % 16)
            seen[slot.block] += 1
            before, count = self._rows_of(slot)
            found.append(Place(slot.block, start, count, slot.stride, before))
            sizes[slot.block] = -(-(start + count * slot.stride) // line) * line
        self.places.update({n: found[at] for n, at in self.memory.slot_of.items()})
        if self.rows.is_dense:
            slots = self.memory.slots
            slot_of = self.memory.slot_of.items()
            self.handed = tuple(n for n, at in slot_of if slots[at].extent == "result")
            for number in self.handed:
                del self.places[number]
        self.work = sizes[SCRATCH]
        sizes[SCRATCH] += self._work_size()
        return sizes[0], sizes[1]

    def _rows_of(self, slot: Slot) -> tuple[int, int]:
        """Rows in front of the first step's, and rows in all."""
        rows = self.rows
        match slot.extent:
            case "call":
                return 0, 1
            case "row":
                return 0, rows.rows + 1
            case "series":
                return 0, rows.total + 1
            case "result":
                return 0, 0 if rows.is_dense else rows.total + 1
        before = self.program.history[slot.name] * rows.rows
        draws = (
            len(rows.draws) if slot.name in self.program.drawn and rows.resets is not None else 0
        )
        return before, before + rows.total + rows.rows + draws + 1

    @property
    def _packs(self) -> bool:
        """Whether there are rows enough for packed matrices."""
        return self.rows.total >= ENOUGH_TO_PACK

    def _work_size(self) -> int:
        """Room for packed matrices, or for the blocks of a sum: one after the other needs it."""
        most = 0
        for segment in self.segments:
            for job in together(segment.compiled):
                if isinstance(job, Unit):
                    if self._packs:
                        most = max(most, self.program.panel_sizes[job.number])
                elif isinstance(job, Group):
                    most = max(most, self.threads * self._room(job))
        return most

    def _room(self, group: Group) -> int:
        """How many numbers a thread packs at a time for a sum of outer products."""
        widths = [self.layout.flow.values[read.value].shape[0] for read in group.right]
        columns = self.program.emitter.vectors * self.layout.lanes
        return outer_room(widths, columns, self.rows.total)

    @cached_property
    def scratch(self) -> int:
        """How many numbers the scratch block is given: a backward pass takes it over."""
        size = self.sizes[SCRATCH]
        if self.adjoint or size < WORTH_KEEPING or not self.rows.is_plain:
            return size
        behind = self.program.segments(adjoint=True)
        if not behind:
            return size
        other = self.program.geometry(self.rows, self.threads, adjoint=True)
        return max(size, other.sizes[SCRATCH])

    @cached_property
    def recipes(self) -> tuple[Recipe, ...]:
        """For each segment how its sources are bound."""
        return tuple(self._recipe(segment.sources) for segment in self.segments)

    def _recipe(self, sources: tuple[int, ...]) -> Recipe:
        matrices: list[tuple[int, str]] = []
        vectors: list[tuple[int, str, int, int, int]] = []
        others: list[int] = []
        for number in sources:
            value = self.layout.flow.values[number]
            if value.operation != "parameter" or len(value.shape) > 2:
                others.append(number)
            elif len(value.shape) == 2:
                matrices.append((number, str(value.attributes[0])))
            else:
                place, width = self.places[number], value.shape[0] * self.item
                spot = (place.first * self.item, width, place.stride * self.item)
                vectors.append((number, str(value.attributes[0]), *spot))
        return Recipe(tuple(matrices), tuple(vectors), tuple(others))

    @cached_property
    def work_of(self) -> tuple[tuple[Atom, ...], ...]:
        """For each segment its work, in order."""
        zeros = [
            number
            for number, place in self.places.items()
            if number in self.layout.delayed
            if place.block == SCRATCH or not self.adjoint
        ]
        found: list[tuple[Atom, ...]] = []
        for segment in self.segments:
            atoms: list[Atom] = []
            if segment.compiled:
                atoms += [tuple(self._zero(number)) for number in zeros]
                zeros = []
            for job in together(segment.compiled):
                if isinstance(job, Unit):
                    atoms += self._stages(job)
                elif isinstance(job, Group):
                    atoms.append(self._group(job))
                elif job.operation == "total":
                    atoms.append(tuple(self._total(job)))
                else:
                    atoms.append(tuple(self._indexed(job)))
            found.append(tuple(atoms))
        return tuple(found)

    def steps(self, atoms: Iterable[Atom]) -> tuple[Step, ...]:
        """Work as tables of jobs, each as long as can be, and what torch does between them."""
        steps: list[Step] = []
        numbers: list[int] = []
        waiting: Part | None = None

        def flush() -> None:
            nonlocal waiting
            if waiting is not None:
                numbers.extend(self._unit(waiting))
                waiting = None

        def close() -> None:
            flush()
            if numbers:
                steps.append((ctypes.c_int64 * len(numbers))(*numbers))
                numbers.clear()

        for atom in atoms:
            assert not isinstance(atom, Either)
            if isinstance(atom, Part):
                if waiting is not None and waiting.unit is atom.unit and not atom.done:
                    waiting = replace(waiting, last=atom.last)
                else:
                    flush()
                    waiting = atom
            elif isinstance(atom, Landing | Theirs):
                close()
                steps.append(atom)
            else:
                flush()
                numbers.extend(self._outer(atom) if isinstance(atom, Group) else atom)
        close()
        return tuple(steps)

    def _stages(self, unit: Unit) -> list[Atom]:
        """A unit, whole, or with the stages that torch may help at."""
        atoms: list[Atom] = []
        done = 0
        for wide in self.program.wide.get(unit.number, ()):
            if self.rows.total * wide.work < ENOUGH_TO_CHOOSE:
                continue
            if wide.stage > done:
                atoms.append(Part(unit, done, wide.stage))
            done = wide.stage + 1
            own = Part(unit, wide.stage, done)
            theirs: Helped = wide.landings
            if not wide.complete:
                theirs = (*theirs, replace(own, done=True))
            atoms.append(Either(self._key(wide.name), own, theirs))
        if done < ALL_STAGES:
            atoms.append(Part(unit, done, ALL_STAGES))
        return atoms

    def _group(self, group: Group) -> Atom:
        values = self.layout.flow.values
        work = self.rows.total * sum(value.shape[0] * value.shape[1] for value in group.sums)
        if work < ENOUGH_TO_CHOOSE:
            return group
        left, right = (
            "+".join(str(values[read.value].shape[0]) for read in side)
            for side in (group.left, group.right)
        )
        back = " delayed" if any(read.delay for read in (*group.left, *group.right)) else ""
        return Either(self._key(f"sums {left} by {right}{back}"), group, (Theirs(group),))

    def _key(self, name: str) -> str:
        """What tells sizes apart that may take differently long."""
        kind = f"{'f64' if self.program.double else 'f32'} {self.program.level}"
        most = 1 << self.rows.total.bit_length()
        plain = "" if self.rows.is_plain else ", packed"
        return f"{kind}, {self.threads} threads, below {most} rows{plain}: {name}"

    def _zero(self, number: int) -> list[int]:
        """What is read outside of the series; initial values are copied to a state's own rows."""
        place, value = self.places[number], self.layout.flow.values[number]
        state = value.operation == "state"
        first = place.rows - place.base - 1 if state else self.rows.total
        count = place.rows - place.base - first
        return [ZERO, 5, number, first * place.stride * self.item, count * place.stride * self.item]

    def _unit(self, part: Part) -> list[int]:
        unit = part.unit
        size = self.program.panel_sizes[unit.number]
        work = self.program.work[unit.number]
        threads, along = shared_out(self.threads, self.rows, work, size)
        panels = self.work * self.item if size and self._packs else -1
        address = self.program.address(unit)
        return [UNIT, 9, address, along, threads, panels, part.first, part.last, part.done]

    def _total(self, value: Value) -> list[int]:
        read = value.operands[0]
        stride = self.layout.stride(read.value)
        width = value.shape[0]
        threads = self.threads if self.rows.total * width >= ENOUGH_TO_ADD else 1
        return [TOTAL, 7, self.layout.sums[value.number], read.value, stride, width, threads]

    def _indexed(self, value: Value) -> list[int]:
        rows, symbols = value.operands
        transposed, height, width = (int(number) for number in value.attributes)
        own = self.layout.flow.values[rows.value].shape[0]
        work = height * width + self.rows.total * own
        threads = min(self.threads, own) if work >= ENOUGH_FOR_TWO else 1
        slots = [self.layout.sums[value.number], rows.value, symbols.value]
        return [
            *(INDEXED, 12, *slots, self.layout.stride(rows.value), own),
            *(self._table_of(rows), self._table_of(symbols)),
            *(height if transposed else width, transposed, threads),
        ]

    def _table_of(self, read: Read) -> int:
        """The table that a read finds its rows by, or −1."""
        return self.layout.indices.index(self.layout.index_key(read)) if read.delay else -1

    def _outer(self, group: Group) -> list[int]:
        values = self.layout.flow.values
        numbers: list[int] = []
        for read in (*group.left, *group.right):
            width = values[read.value].shape[0]
            stride, index = self.layout.stride(read.value), self._table_of(read)
            numbers += (read.value, stride, width, index)
        numbers += [self.layout.sums[value.number] for value in group.sums]
        work = self.rows.total * sum(value.shape[0] * value.shape[1] for value in group.sums)
        threads = self.threads if work >= ENOUGH_FOR_TWO else 1
        sides = [len(group.left), len(group.right)]
        head = [self.work * self.item, threads, self._room(group), *sides]
        return [OUTER, 7 + len(numbers), *head, *numbers]


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
        a
        for a in range(1, threads + 1)
        if threads % a == 0 and a <= max(1, rows.rows // ENOUGH_ROWS)
    )
    return threads, threads // across
