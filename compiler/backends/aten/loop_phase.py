"""One phase step by step: a list of calls a step, each with its operands already cut to steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from rnnc.compiler.ir.dataflow import Read, Value
from rnnc.compiler.ir.ops import ELEMENTWISE, WINDOWS
from rnnc.compiler.schedule.plan import Phase

from .addmm_fusion import absorbed, terms_of
from .batched_phase import fresh
from .buffers import Memory
from .op_table import ELEMENTWISE as COMPUTE
from .op_table import subtract_product
from .window_phase import call_at_each_step, ends_of

Steps = Sequence[Tensor]


@dataclass(frozen=True, slots=True)
class Instruction:
    """One call a step: `call(*[operand[t] for operand in operands], out=out[t])`."""

    call: Callable[..., Any]
    operands: tuple[Steps, ...]
    out: Steps


def run_loop(phase: Phase, memory: Memory) -> None:
    """Compute a phase that has a cycle."""
    steps = memory.call.steps
    for number in phase.values:
        value = memory.values[number]
        if value.operation == "state":
            memory.fill_margins(value)
    if not steps or not memory.call.rows:
        return
    program = [
        (instruction.call, list(zip(*instruction.operands, strict=True)), instruction.out)
        for instruction in _Loop(phase, memory).program()
    ]
    order = range(steps) if phase.direction > 0 else range(steps - 1, -1, -1)
    for t in order:
        for call, operands, out in program:
            call(*operands[t], out=out[t])


class _Loop:
    """Makes the instructions of a loop phase."""

    def __init__(self, phase: Phase, memory: Memory) -> None:
        self.phase, self.memory = phase, memory
        self.inside = frozenset(phase.values)
        self.steps = memory.call.steps
        self.made: list[Instruction] = []
        self.columns: dict[Read, Steps] = {}
        self.current: dict[int, Steps] = {}
        self.absorbed = absorbed(memory.plan, phase)

    def program(self) -> list[Instruction]:
        for number in self.phase.values:
            value = self.memory.values[number]
            if number in self.absorbed:
                continue
            if value.operation == "state":
                self._state(value)
            elif value.operation == "add":
                self._sum(value)
            elif not self.memory.plan.is_free(value):
                self._plain(value)
        return self.made

    def emit(self, call: Callable[..., Any], operands: Sequence[Steps], out: Steps) -> None:
        self.made.append(Instruction(call, tuple(operands), out))

    def out(self, number: int) -> Steps:
        """Where a value is written at each step."""
        if number not in self.current:
            tensor = self.memory.out(number)
            self.current[number] = tensor.unbind(0) if tensor.dim() == 3 else [tensor] * self.steps
        return self.current[number]

    def read(self, read: Read) -> Steps:
        """What a read sees at each step; masks what lies outside of the segment."""
        if read in self.columns:
            return self.columns[read]
        value = self.memory.values[read.value]
        if not read.delay and read.value in self.inside:
            return self.out(read.value)
        if value.rate != "step":
            tensor = self.memory.now(read.value)
            found: Steps = [tensor] * self.steps
        elif read.delay and read.value in self.inside:
            found = self._own_past(value, read)
        else:
            found = self.memory.read(read).unbind(0)
        self.columns[read] = found
        return found

    def _own_past(self, value: Value, read: Read) -> Steps:
        """A read of this loop's own values: masked step by step, as they come."""
        memory = self.memory
        line, before = memory.line(read.value)
        whole = line.unbind(0)
        first = before - read.delay
        assert first >= 0, value
        assert first + self.steps <= len(whole), value
        raw = whole[first : first + self.steps]
        linked = memory.linked(read)
        if linked is None:
            return raw
        outside = memory.outside(value)
        other: Steps = outside.unbind(0) if outside.dim() == 3 else [outside] * self.steps
        scratch = [torch.empty_like(raw[0])] * self.steps
        self.emit(torch.where, (linked.unbind(0), raw, other), scratch)
        return scratch

    def _state(self, value: Value) -> None:
        memory = self.memory
        out = self.out(value.number)
        if not memory.plan.is_free(value):
            self.emit(_copy, (self.read(value.operands[0]),), out)
        alive = memory.boundaries.alive
        if alive is None:
            return
        name = str(value.attributes[0])
        if name in memory.call.history:
            line, before = memory.line(value.number)
            held: Steps = line.unbind(0)[before - 1 : before - 1 + self.steps]
        else:
            initial = memory.boundaries.initial(name).detach()
            held = initial.unbind(0) if initial.dim() == 3 else [initial] * self.steps
        self.emit(torch.where, (alive.unbind(0), out, held), out)

    def _plain(self, value: Value) -> None:
        out = self.out(value.number)
        if value.operation == "concatenate":
            self._concatenate(value)
            return
        if value.operation in WINDOWS:
            self._window(value, out)
            return
        operands = [self.read(read) for read in value.operands]
        if value.operation in ELEMENTWISE:
            self.emit(COMPUTE[value.operation], operands, out)
        elif value.operation == "matmul" and operands[0][0].dim() == 2:
            weight = operands[0][0] if value.attributes[0] else operands[0][0].t()
            self.emit(torch.mm, (operands[1], [weight] * self.steps), out)
        else:
            self.emit(_Fresh(value), operands, out)

    def _window(self, value: Value, out: Steps) -> None:
        boundaries = self.memory.boundaries
        call, rows = call_at_each_step(value, self.memory)
        unmixed = value.operation == "unmix"
        others = () if unmixed else value.operands[2:]
        there = (boundaries.readers if unmixed else boundaries.present)(*ends_of(value))
        operands = [*rows, *(self.read(read) for read in others), there.unbind(0)]
        self.emit(call, operands, out)

    def _concatenate(self, value: Value) -> None:
        memory = self.memory
        place, start = memory.plan.places[value.number], 0
        whole = self.out(value.number)
        for read in value.operands:
            width = memory.values[read.value].shape[0]
            there = memory.plan.places[read.value]
            assert place is not None
            lies = there is not None and not read.delay
            if not lies or (there.buffer, there.start) != (place.buffer, place.start + start):  # type: ignore[union-attr]
                part = [step[..., start : start + width] for step in whole]
                self.emit(_copy, (self.read(read),), part)
            start += width

    def _sum(self, value: Value) -> None:
        """A sum, its products computed on the way: `addmm` on the first term, then `addcmul`."""
        out = self.out(value.number)
        found = terms_of(value, self.memory.values, self.absorbed)
        rows = (self.memory.call.rows, value.shape[0])
        # Only what has all of its rows can be what a product is added to.
        terms = sorted(map(self.read, found.plain), key=lambda term: term[0].shape != rows)
        others = (found.matmuls, found.products, found.minus, found.minus_products, terms[1:])
        if not any(others):
            self.emit(_copy, (terms[0],), out)
            return
        total: Steps | None = terms.pop(0) if terms else None
        for source in found.matmuls:
            weight, vector = (self.read(read) for read in source.operands)
            matrix = [weight[0] if source.attributes[0] else weight[0].t()] * self.steps
            if total is None:
                self.emit(torch.mm, (vector, matrix), out)
            else:
                self.emit(torch.addmm, (total, vector, matrix), out)
            total = out
        for source in found.products:
            a, b = (self.read(read) for read in source.operands)
            if total is None:
                self.emit(torch.mul, (a, b), out)
            else:
                self.emit(torch.addcmul, (total, a, b), out)
            total = out
        assert total is not None
        for source in found.minus_products:
            a, b = (self.read(read) for read in source.operands)
            self.emit(subtract_product, (total, a, b), out)
            total = out
        for read in found.minus:
            self.emit(torch.sub, (total, self.read(read)), out)
            total = out
        for term in terms:
            self.emit(torch.add, (total, term), out)
            total = out


class _Fresh:
    """An operation that has no form with `out`."""

    def __init__(self, value: Value) -> None:
        self.value = value

    def __call__(self, *operands: Tensor, out: Tensor) -> None:
        out.copy_(fresh(self.value, list(operands)))


def _copy(operand: Tensor, out: Tensor) -> Tensor:
    return out.copy_(operand)
