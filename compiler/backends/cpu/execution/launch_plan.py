"""A pass whose calls differ in addresses alone, written down as one table (`run_again`, `calls.h`).

Such a pass has rows of one length, no resets, and nothing that is left to ATen.
"""

from __future__ import annotations

import ctypes
import math
from dataclasses import dataclass, field

from rnnc.compiler.backends.cpu.schedule.gemm_candidates import GemmAlternative
from rnnc.compiler.backends.cpu.specialize.shape_specialization import (
    CpuBufferRegion,
    ShapeSpecialization,
)
from rnnc.compiler.calls.flattening import TensorKey
from rnnc.compiler.ir.dataflow import Operand, Value
from rnnc.operators.semantics.call import Call

BLOCK_COUNT = 2
"""Bases in front of those of tensors: the blocks of memory."""


class _NotReplayable(Exception):
    """Something of a pass needs more than addresses."""


@dataclass(frozen=True)
class LaunchPlan:
    """The table, and how many tensors it takes addresses of, the results among them.

    result_shapes: of the results: all outputs, then what is carried on.
    jobs: what the table points to.
    """

    tensor_count: int
    result_shapes: tuple[tuple[int, ...], ...]
    table: ctypes.Array[ctypes.c_int64]
    jobs: ctypes.Array[ctypes.c_int64]
    specialization: ShapeSpecialization


def build_launch_plan(specialization: ShapeSpecialization, call: Call) -> LaunchPlan | None:
    """The tape of a forward pass outside of training; None where addresses are not all.

    It takes the addresses of all parameters, inputs and histories in the order of this call.
    """
    kinds = {"parameter": call.parameters, "input": call.inputs, "history": call.carry}
    keys = [(kind, name) for kind, named in kinds.items() for name in named]
    bases = {key: BLOCK_COUNT + at for at, key in enumerate(keys)}
    try:
        return _LaunchPlanBuilder(
            specialization, bases, {k: len(v) for k, v in call.carry.items()}
        ).build()
    except _NotReplayable:
        return None


@dataclass
class _LaunchPlanBuilder:
    specialization: ShapeSpecialization
    bases: dict[TensorKey, int]
    carry_steps: dict[str, int]
    pointers: list[int] = field(default_factory=list)
    input_copies: list[int] = field(default_factory=list)
    result_copies: list[int] = field(default_factory=list)
    shapes: list[tuple[int, ...]] = field(default_factory=list)
    direct_results: set[int] = field(default_factory=set)
    """Values that are computed in results, and have none yet."""

    def build(self) -> LaunchPlan:
        geometry = self.specialization
        if (
            any(segment.aten_values for segment in geometry.launches)
            or not geometry.sequence.is_uniform
        ):
            raise _NotReplayable
        for segment in geometry.launches:
            if segment.lookups or segment.window_keys or segment.row_sums:
                raise _NotReplayable
            for number in segment.sources:
                self._bind_source(self._value(number))
            for number in segment.states:
                self._bind_state(self._value(number))
        self._bind_results()
        numbers: list[int] = []
        for index, segment in enumerate(geometry.launches):
            if segment.jobs:
                numbers += self._jobs(index)
        jobs = (ctypes.c_int64 * len(numbers))(*numbers)
        table = [ctypes.addressof(jobs), len(numbers), geometry.layout.slot_count]
        table += [
            len(self.pointers) // 2,
            len(self.input_copies) // 10,
            len(self.result_copies) // 10,
        ]
        table += [*geometry.call_header, *self.pointers, *self.input_copies, *self.result_copies]
        written = (ctypes.c_int64 * len(table))(*table)
        count = len(self.bases) + len(self.shapes)
        return LaunchPlan(count, tuple(self.shapes), written, jobs, geometry)

    def _jobs(self, index: int) -> list[int]:
        atoms = self.specialization.work_items[index]
        if any(isinstance(atom, GemmAlternative) for atom in atoms):
            raise _NotReplayable
        tables = self.specialization.assemble_steps(atoms)
        return [n for table in tables if isinstance(table, ctypes.Array) for n in table]

    def _value(self, number: int) -> Value:
        return self.specialization.layout.flow.values[number]

    def _region_address(self, place: CpuBufferRegion, row: int) -> tuple[int, int]:
        return place.block, (place.first_offset + row * place.stride) * self.specialization.itemsize

    def _copy_in(self, number: int, base: int, row: int, count: int) -> None:
        """Copy rows of a tensor, which lie side by side, to the place of a value."""
        place, item = self.specialization.regions[number], self.specialization.itemsize
        width = self._value(number).shape[0] * item
        self.input_copies += (*self._region_address(place, row), base, 0, 1, 0, count, width)
        self.input_copies += (width, place.stride * item)

    def _bind_source(self, value: Value) -> None:
        number, rows = value.id, self.specialization.sequence
        if value.shape == () or value.operation not in {"parameter", "input"}:
            raise _NotReplayable
        base = self.bases[value.operation, str(value.attributes[0])]
        if value.operation == "parameter" and len(value.shape) == 1:
            self._copy_in(number, base, 0, 1)
        elif value.operation == "parameter" and len(value.shape) == 3:
            raise _NotReplayable
        elif number in self.specialization.regions:
            self._copy_in(number, base, 0, rows.row_count)
            if number in self.specialization.layout.delayed_values:
                self._bind_carry(value)
        else:
            self.pointers += (number, base)

    def _bind_carry(self, value: Value) -> None:
        name = str(value.attributes[0])
        steps = self.carry_steps.get(name, 0)
        if steps:
            count = steps * self.specialization.sequence.batch_size
            self._copy_in(value.id, self.bases["history", name], -count, count)

    def _bind_state(self, value: Value) -> None:
        # What lies outside of a segment is read by states alone that have no history.
        if str(value.attributes[0]) not in self.carry_steps:
            raise _NotReplayable
        self._bind_carry(value)

    def _bind_results(self) -> None:
        geometry, program = self.specialization, self.specialization.program
        flow, rows = geometry.layout.flow, geometry.sequence
        self.direct_results.update(geometry.direct_results)
        for output, read in zip(flow.graph.outputs, flow.outputs, strict=True):
            last = (rows.steps - 1) * rows.batch_size if output.at_end else 0
            self._copy_out(read, last, () if output.at_end else (rows.steps,))
        for name, steps in self.carry_steps.items():
            number = program.carry_values.get(name)
            if number is None:
                raise _NotReplayable
            self._copy_out(Operand(number), rows.row_count - steps * rows.batch_size, (steps,))
        if self.direct_results:
            raise _NotReplayable

    def _copy_out(self, read: Operand, row: int, lead: tuple[int, ...]) -> None:
        """Copy rows of a value to a result, or have them computed there."""
        place = self.specialization.regions.get(read.value)
        shape = (*lead, self.specialization.sequence.batch_size, self._value(read.value).shape[0])
        base = BLOCK_COUNT + len(self.bases) + len(self.shapes)
        self.shapes.append(shape)
        if read.value in self.direct_results and lead and not read.delay:
            self.pointers += (read.value, base)
            self.direct_results.remove(read.value)
            return
        if place is None or read.delay or self._value(read.value).rate != "step":
            raise _NotReplayable
        item = self.specialization.itemsize
        count, width = math.prod(shape[:-1]), shape[-1] * item
        self.result_copies += (
            base,
            0,
            *self._region_address(place, row),
            1,
            0,
            count,
            place.stride * item,
        )
        self.result_copies += (width, width)
