"""Launch plans: a forward pass as one table of offsets, which `run_replay` runs on new addresses.

As CUDA graphs do for kernels: calls with the same shapes differ in addresses alone. That holds for
sequences of one length without resets, and for programs without values of ATen.
"""

from __future__ import annotations

import ctypes
import math
from dataclasses import dataclass, field

from rnnc.compiler.backends.cpu.schedule.gemm_candidates import GemmAlternative
from rnnc.compiler.backends.cpu.specialize.job_tables import JobTables
from rnnc.compiler.backends.cpu.specialize.shape_specialization import (
    CpuBufferRegion,
    ShapeSpecialization,
)
from rnnc.compiler.calls.flattening import TensorKey
from rnnc.compiler.ir.dataflow import Operand, Value
from rnnc.operators.semantics.call import Call

BLOCK_COUNT = 2
"""Base addresses of memory blocks, in front of those of tensors."""

_COPY_LENGTH = 10
"""Numbers of a copy: bases and offsets of target and source, two extents and strides, bytes."""


class _NotReplayable(Exception):
    """A part of the pass needs more than addresses."""


@dataclass(frozen=True)
class LaunchPlan:
    """A recorded call.

    tensor_count: addresses that the table refers to: arguments, then results.
    result_shapes: all outputs, then the carry.
    jobs: owned here because the table holds its address.
    """

    tensor_count: int
    result_shapes: tuple[tuple[int, ...], ...]
    table: ctypes.Array[ctypes.c_int64]
    jobs: ctypes.Array[ctypes.c_int64]
    specialization: ShapeSpecialization


def build_launch_plan(specialization: ShapeSpecialization, call: Call) -> LaunchPlan | None:
    """Build the plan of a forward pass in evaluation; None where it needs more than addresses.

    Its arguments are all parameters, inputs and carries in the order of this call.
    """
    kinds = {"parameter": call.parameters, "input": call.inputs, "history": call.carry}
    keys = [(kind, name) for kind, tensors in kinds.items() for name in tensors]
    bases = {key: BLOCK_COUNT + index for index, key in enumerate(keys)}
    carry_steps = {name: len(carry) for name, carry in call.carry.items()}
    try:
        return _LaunchPlanBuilder(specialization, bases, carry_steps).build()
    except _NotReplayable:
        return None


@dataclass
class _LaunchPlanBuilder:
    """Collects the parts of a plan.

    bases: the number of each argument's base address.
    pointers: pairs of a value id and the base that its slot points at.
    direct_results: ids of values that are stored in results, and have none yet.
    """

    specialization: ShapeSpecialization
    bases: dict[TensorKey, int]
    carry_steps: dict[str, int]
    pointers: list[int] = field(default_factory=list)
    input_copies: list[int] = field(default_factory=list)
    result_copies: list[int] = field(default_factory=list)
    shapes: list[tuple[int, ...]] = field(default_factory=list)
    direct_results: set[int] = field(default_factory=set)

    def build(self) -> LaunchPlan:
        """Collect all parts and write the table.

        Raises:
            _NotReplayable: when the pass needs more than addresses.
        """
        specialization = self.specialization
        launches = specialization.launches
        if not specialization.sequence.is_uniform or any(item.aten_values for item in launches):
            raise _NotReplayable
        for launch in launches:
            if launch.lookups or launch.window_keys or launch.row_sums:
                raise _NotReplayable
            for value_id in launch.sources:
                self._bind_source(self._value(value_id))
            for value_id in launch.states:
                self._bind_state(self._value(value_id))
        self._bind_results()
        numbers = self._job_numbers()
        jobs = (ctypes.c_int64 * len(numbers))(*numbers)
        content = [
            *(ctypes.addressof(jobs), len(numbers), specialization.layout.slot_count),
            len(self.pointers) // 2,
            len(self.input_copies) // _COPY_LENGTH,
            len(self.result_copies) // _COPY_LENGTH,
            *specialization.call_header,
            *self.pointers,
            *self.input_copies,
            *self.result_copies,
        ]
        table = (ctypes.c_int64 * len(content))(*content)
        tensor_count = len(self.bases) + len(self.shapes)
        return LaunchPlan(tensor_count, tuple(self.shapes), table, jobs, specialization)

    def _job_numbers(self) -> list[int]:
        job_tables = JobTables(self.specialization)
        numbers: list[int] = []
        for index, launch in enumerate(self.specialization.launches):
            if not launch.jobs:
                continue
            items = job_tables.work_items(index)
            if any(isinstance(item, GemmAlternative) for item in items):
                raise _NotReplayable
            for step in job_tables.assemble_steps(items):
                assert isinstance(step, ctypes.Array)
                numbers += step
        return numbers

    def _value(self, value_id: int) -> Value:
        return self.specialization.layout.flow.values[value_id]

    def _region_address(self, region: CpuBufferRegion, row: int) -> tuple[int, int]:
        """Return the base and the byte offset of a row."""
        offset = region.first_offset + row * region.stride
        return region.block, offset * self.specialization.itemsize

    def _copy_in(self, value_id: int, base: int, row: int, count: int) -> None:
        """Add a copy of contiguous rows of a tensor to the region of a value."""
        region, itemsize = self.specialization.regions[value_id], self.specialization.itemsize
        width, stride = self._value(value_id).shape[0] * itemsize, region.stride * itemsize
        target = self._region_address(region, row)
        self.input_copies += (*target, base, 0, 1, 0, count, width, width, stride)

    def _bind_source(self, value: Value) -> None:
        value_id, specialization = value.id, self.specialization
        if value.shape == () or value.operation not in {"parameter", "input"}:
            raise _NotReplayable
        base = self.bases[value.operation, str(value.attributes[0])]
        if value.operation == "parameter" and len(value.shape) == 1:
            self._copy_in(value_id, base, 0, 1)
        elif value.operation == "parameter" and len(value.shape) == 3:
            raise _NotReplayable
        elif value_id in specialization.regions:
            self._copy_in(value_id, base, 0, specialization.sequence.row_count)
            if value_id in specialization.layout.delayed_values:
                self._bind_carry(value)
        else:
            self.pointers += (value_id, base)

    def _bind_carry(self, value: Value) -> None:
        name = str(value.attributes[0])
        steps = self.carry_steps.get(name, 0)
        if steps:
            count = steps * self.specialization.sequence.batch_size
            self._copy_in(value.id, self.bases["history", name], -count, count)

    def _bind_state(self, value: Value) -> None:
        # Without resets only states without a carry read their initial values.
        if str(value.attributes[0]) not in self.carry_steps:
            raise _NotReplayable
        self._bind_carry(value)

    def _bind_results(self) -> None:
        specialization = self.specialization
        flow, sequence = specialization.layout.flow, specialization.sequence
        self.direct_results.update(specialization.direct_results)
        for output, operand in zip(flow.graph.outputs, flow.outputs, strict=True):
            if output.at_end:
                self._copy_out(operand, (sequence.steps - 1) * sequence.batch_size, ())
            else:
                self._copy_out(operand, 0, (sequence.steps,))
        for name, steps in self.carry_steps.items():
            value_id = specialization.program.carry_values.get(name)
            if value_id is None:
                raise _NotReplayable
            first = sequence.row_count - steps * sequence.batch_size
            self._copy_out(Operand(value_id), first, (steps,))
        if self.direct_results:
            raise _NotReplayable

    def _copy_out(self, operand: Operand, row: int, leading_shape: tuple[int, ...]) -> None:
        """Add a copy of a value's rows to a result, or let the kernel store them there."""
        specialization, value = self.specialization, self._value(operand.value)
        region = specialization.regions.get(operand.value)
        shape = (*leading_shape, specialization.sequence.batch_size, value.shape[0])
        base = BLOCK_COUNT + len(self.bases) + len(self.shapes)
        self.shapes.append(shape)
        if operand.value in self.direct_results and leading_shape and not operand.delay:
            self.pointers += (operand.value, base)
            self.direct_results.remove(operand.value)
            return
        if region is None or operand.delay or value.rate != "step":
            raise _NotReplayable
        itemsize = specialization.itemsize
        count, width, stride = math.prod(shape[:-1]), shape[-1] * itemsize, region.stride * itemsize
        source = self._region_address(region, row)
        self.result_copies += (base, 0, *source, 1, 0, count, stride, width, width)
