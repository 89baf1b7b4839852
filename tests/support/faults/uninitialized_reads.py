"""What generated C would read from memory before it is written, found without running it."""

from __future__ import annotations

from collections.abc import Iterator

from rnnc.compiler.backends.cpu.schedule.buffer_slots import SAVED
from rnnc.compiler.backends.cpu.schedule.frame_layout import is_here, reads_of
from rnnc.compiler.backends.cpu.schedule.inplace_reuse import heirs_of
from rnnc.compiler.backends.cpu.schedule.kernel_partition import Stage, Unit
from rnnc.compiler.backends.cpu.specialize.compiled_program import Program
from rnnc.compiler.ir.ops import SOURCES

Fault = tuple[int, int]
"""A reader (−1: the caller), and what it reads."""


def unwritten(program: Program) -> list[Fault]:
    """All such reads of both passes."""
    values = program.layout.flow.values
    given = {v.number for v in values if v.operation in SOURCES}
    forward = _Pass(program, set(given), adjoint=False)
    memory = program.memory(adjoint=False)
    saved = {n for n, at in memory.slot_of.items() if memory.slots[at].block == SAVED}
    known = forward.written & (saved | set(program.saved_outside))
    return [*forward.faults, *_Pass(program, given | known, adjoint=True).faults]


class _Pass:
    """One pass, job by job; `written` is what memory holds so far."""

    def __init__(self, program: Program, written: set[int], *, adjoint: bool) -> None:
        self.layout, self.written = program.layout, written
        units = [u for u in self.layout.units if not u.outside and u.adjoint == adjoint]
        stored = frozenset(n for u in units for n in u.values if n in self.layout.stored)
        self.heirs = heirs_of(self.layout, units, frozenset() if adjoint else program.saved, stored)
        self.faults: list[Fault] = []
        for segment in program.segments(adjoint=adjoint):
            for job in segment.compiled:
                if isinstance(job, Unit):
                    self._unit(job)
                else:
                    self._outside(job.number)
            for number in segment.outside:
                self._outside(number)
        flow = self.layout.flow
        wanted = [g.value for g in flow.gradients] if adjoint else [r.value for r in flow.results]
        self.faults += [(-1, n) for n in wanted if n >= 0 and n not in self.written]

    def _outside(self, number: int) -> None:
        operands = self.layout.flow.values[number].operands
        self.faults += [(number, r.value) for r in operands if r.value not in self.written]
        self.written.add(number)

    def _unit(self, unit: Unit) -> None:
        # In a loop an earlier step, or a later one, has run through all of its stages.
        others = {n for stage in unit.stages for n in self._stored(stage)}
        for stage in unit.stages:
            self.faults += self._faults(stage, others if unit.direction else set())
            stored = set(self._stored(stage))
            self.written |= stored
            self.written -= {number for number, heir in self.heirs.items() if heir in stored}

    def _stored(self, stage: Stage) -> Iterator[int]:
        return (number for number in stage.values if number in self.layout.stored)

    def _faults(self, stage: Stage, others: set[int]) -> Iterator[Fault]:
        flow, computed = self.layout.flow, set[int]()
        for found in stage.sums:
            for term in found.terms:
                if term.weight not in self.written:
                    yield found.value, term.weight
        for number in stage.values:
            for read in reads_of(flow, stage, number):
                if is_here(flow, stage, number, read):
                    known = read.value in computed
                else:
                    known = read.value in self.written or (read.delay != 0 and read.value in others)
                if not known:
                    yield number, read.value
            computed.add(number)
