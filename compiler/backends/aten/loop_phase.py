"""Execute a phase with a cycle step by step.

A loop phase is compiled to a list of instructions whose operands are already split into steps, so
that one step costs no more than its ATen calls.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from rnnc.compiler.ir.dataflow import Operand, Value
from rnnc.compiler.ir.ops import ELEMENTWISE_OPS, WINDOW_OPS
from rnnc.compiler.schedule.plan import Phase

from .addmm_fusion import classify_terms, find_fused_operands
from .batched_phase import evaluate, unplaced_parts
from .buffers import AtenMemory
from .op_table import ELEMENTWISE_FUNCTIONS, subtract_product
from .window_phase import window_bounds, window_step_function

StepTensors = Sequence[Tensor]


@dataclass(frozen=True, slots=True)
class Instruction:
    """One ATen call per step: `call(*[operand[t] for operand in operands], out=out[t])`."""

    call: Callable[..., Any]
    operands: tuple[StepTensors, ...]
    out: StepTensors


def run_loop(phase: Phase, memory: AtenMemory) -> None:
    """Execute a loop phase: all instructions at one step, then at the next."""
    steps = memory.call.steps
    for value_id in phase.values:
        value = memory.values[value_id]
        if value.operation == "state":
            memory.fill_margins(value)
    if not steps or not memory.call.batch_size:
        return
    program = [
        (instruction.call, list(zip(*instruction.operands, strict=True)), instruction.out)
        for instruction in _LoopBuilder(phase, memory).build()
    ]
    order = range(steps) if phase.direction > 0 else range(steps - 1, -1, -1)
    for t in order:
        for call, operands, out in program:
            call(*operands[t], out=out[t])


class _LoopBuilder:
    """Builder of the instructions of a loop phase."""

    def __init__(self, phase: Phase, memory: AtenMemory) -> None:
        self.phase, self.memory = phase, memory
        self.members = frozenset(phase.values)
        self.steps = memory.call.steps
        self.instructions: list[Instruction] = []
        self.operand_cache: dict[Operand, StepTensors] = {}
        self.output_cache: dict[int, StepTensors] = {}
        self.fused = find_fused_operands(memory.plan, phase)

    def build(self) -> list[Instruction]:
        for value_id in self.phase.values:
            value = self.memory.values[value_id]
            if value_id in self.fused:
                continue
            if value.operation == "state":
                self._emit_state(value)
            elif value.operation == "add":
                self._emit_add(value)
            elif not self.memory.plan.is_alias(value):
                self._emit_op(value)
        return self.instructions

    def emit(
        self, call: Callable[..., Any], operands: Sequence[StepTensors], out: StepTensors
    ) -> None:
        self.instructions.append(Instruction(call, tuple(operands), out))

    def output(self, value_id: int) -> StepTensors:
        """Return the tensors that a value is written to, one a step."""
        if value_id not in self.output_cache:
            tensor = self.memory.output(value_id)
            self.output_cache[value_id] = (
                tensor.unbind(0) if tensor.dim() == 3 else [tensor] * self.steps
            )
        return self.output_cache[value_id]

    def load(self, operand: Operand) -> StepTensors:
        """Return the tensors that an operand reads, one a step, masked to its user's segment."""
        if operand in self.operand_cache:
            return self.operand_cache[operand]
        value = self.memory.values[operand.value]
        if not operand.delay and operand.value in self.members:
            return self.output(operand.value)
        if value.rate != "step":
            tensor = self.memory.series(operand.value)
            tensors: StepTensors = [tensor] * self.steps
        elif operand.delay and operand.value in self.members:
            tensors = self._load_delayed(value, operand)
        else:
            tensors = self.memory.load(operand).unbind(0)
        self.operand_cache[operand] = tensors
        return tensors

    def _load_delayed(self, value: Value, operand: Operand) -> StepTensors:
        """Return a delayed operand that this loop computes, masked by one instruction a step."""
        memory = self.memory
        padded, steps_before = memory.padded_series(operand.value)
        tensors = padded.unbind(0)
        first = steps_before - operand.delay
        assert first >= 0, value
        assert first + self.steps <= len(tensors), value
        raw = tensors[first : first + self.steps]
        in_segment = memory.segment_mask(operand)
        if in_segment is None:
            return raw
        boundary = memory.boundary_value(value)
        boundaries: StepTensors = (
            boundary.unbind(0) if boundary.dim() == 3 else [boundary] * self.steps
        )
        scratch = [torch.empty_like(raw[0])] * self.steps
        self.emit(torch.where, (in_segment.unbind(0), raw, boundaries), scratch)
        return scratch

    def _emit_state(self, value: Value) -> None:
        memory = self.memory
        out = self.output(value.id)
        if not memory.plan.is_alias(value):
            self.emit(_copy, (self.load(value.operands[0]),), out)
        valid = memory.boundaries.valid
        if valid is None:
            return
        name = str(value.attributes[0])
        if name in memory.call.carry:
            padded, steps_before = memory.padded_series(value.id)
            held: StepTensors = padded.unbind(0)[steps_before - 1 : steps_before - 1 + self.steps]
        else:
            initial = memory.boundaries.initial_value(name).detach()
            held = initial.unbind(0) if initial.dim() == 3 else [initial] * self.steps
        self.emit(torch.where, (valid.unbind(0), out, held), out)

    def _emit_op(self, value: Value) -> None:
        out = self.output(value.id)
        if value.operation == "concatenate":
            self._emit_concatenate(value)
            return
        if value.operation in WINDOW_OPS:
            self._emit_window(value, out)
            return
        operands = [self.load(operand) for operand in value.operands]
        if value.operation in ELEMENTWISE_OPS:
            self.emit(ELEMENTWISE_FUNCTIONS[value.operation], operands, out)
        elif value.operation == "matmul" and operands[0][0].dim() == 2:
            weight = operands[0][0] if value.attributes[0] else operands[0][0].t()
            self.emit(torch.mm, (operands[1], [weight] * self.steps), out)
        else:
            self.emit(_EvaluateInto(value), operands, out)

    def _emit_window(self, value: Value, out: StepTensors) -> None:
        boundaries = self.memory.boundaries
        call, rows = window_step_function(value, self.memory)
        is_scatter = value.operation == "unmix"
        other_operands = () if is_scatter else value.operands[2:]
        present = (boundaries.reader_window_mask if is_scatter else boundaries.window_mask)(
            *window_bounds(value)
        )
        operands = [*rows, *(self.load(operand) for operand in other_operands), present.unbind(0)]
        self.emit(call, operands, out)

    def _emit_concatenate(self, value: Value) -> None:
        out = self.output(value.id)
        for operand, columns in unplaced_parts(value, self.memory):
            self.emit(_copy, (self.load(operand),), [step[..., columns] for step in out])

    def _emit_add(self, value: Value) -> None:
        """Emit an add: `addmm` on its first term, `addcmul` for fused products, then the others."""
        out = self.output(value.id)
        add_terms = classify_terms(value, self.memory.values, self.fused)
        row_shape = (self.memory.call.batch_size, value.shape[0])
        # addmm and addcmul add to a tensor of the full shape, so that such an addend comes first.
        addends = sorted(
            map(self.load, add_terms.addends), key=lambda addend: addend[0].shape != row_shape
        )
        further_terms = (
            add_terms.matmuls,
            add_terms.added_products,
            add_terms.subtrahends,
            add_terms.subtracted_products,
            addends[1:],
        )
        if not any(further_terms):
            self.emit(_copy, (addends[0],), out)
            return
        total: StepTensors | None = addends.pop(0) if addends else None
        for product in add_terms.matmuls:
            weight, vector = (self.load(operand) for operand in product.operands)
            matrix = [weight[0] if product.attributes[0] else weight[0].t()] * self.steps
            if total is None:
                self.emit(torch.mm, (vector, matrix), out)
            else:
                self.emit(torch.addmm, (total, vector, matrix), out)
            total = out
        for product in add_terms.added_products:
            a, b = (self.load(operand) for operand in product.operands)
            if total is None:
                self.emit(torch.mul, (a, b), out)
            else:
                self.emit(torch.addcmul, (total, a, b), out)
            total = out
        assert total is not None
        for product in add_terms.subtracted_products:
            a, b = (self.load(operand) for operand in product.operands)
            self.emit(subtract_product, (total, a, b), out)
            total = out
        for operand in add_terms.subtrahends:
            self.emit(torch.sub, (total, self.load(operand)), out)
            total = out
        for addend in addends:
            self.emit(torch.add, (total, addend), out)
            total = out


class _EvaluateInto:
    """Callable that evaluates an operation without an `out=` form and copies its result."""

    def __init__(self, value: Value) -> None:
        self.value = value

    def __call__(self, *operands: Tensor, out: Tensor) -> None:
        out.copy_(evaluate(self.value, list(operands)))


def _copy(operand: Tensor, out: Tensor) -> Tensor:
    return out.copy_(operand)
