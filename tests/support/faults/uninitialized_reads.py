"""What generated C would read from memory before it is written, found without running it."""

from __future__ import annotations

from collections.abc import Iterator

from rnnc.compiler.backends.cpu.schedule.buffer_slots import RESIDUAL_BLOCK
from rnnc.compiler.backends.cpu.schedule.frame_layout import is_in_register, kernel_operands
from rnnc.compiler.backends.cpu.schedule.inplace_reuse import find_inplace_reuse
from rnnc.compiler.backends.cpu.schedule.kernel_partition import CpuKernel, CpuKernelGroup
from rnnc.compiler.backends.cpu.specialize.compiled_program import CompiledProgram
from rnnc.compiler.ir.ops import SOURCE_OPS

UninitializedRead = tuple[int, int]
"""A reader (−1: the caller), and what it reads."""


def find_uninitialized_reads(program: CompiledProgram) -> list[UninitializedRead]:
    """All such reads of both passes."""
    values = program.layout.flow.values
    given = {v.id for v in values if v.operation in SOURCE_OPS}
    forward = _PassChecker(program, set(given), adjoint=False)
    memory = program.slot_assignment(adjoint=False)
    saved = {n for n, at in memory.slot_of.items() if memory.slots[at].block == RESIDUAL_BLOCK}
    known = forward.written & (saved | set(program.aten_residuals))
    return [*forward.reads, *_PassChecker(program, given | known, adjoint=True).reads]


class _PassChecker:
    """One pass, job by job; `written` is what memory holds so far."""

    def __init__(self, program: CompiledProgram, written: set[int], *, adjoint: bool) -> None:
        self.layout, self.written = program.layout, written
        units = [
            u for u in self.layout.kernel_groups if not u.runs_in_aten and u.adjoint == adjoint
        ]
        stored = frozenset(n for u in units for n in u.values if n in self.layout.stored_values)
        self.heirs = find_inplace_reuse(
            self.layout, units, frozenset() if adjoint else program.residuals, stored
        )
        self.reads: list[UninitializedRead] = []
        for segment in program.launches(adjoint=adjoint):
            for job in segment.jobs:
                if isinstance(job, CpuKernelGroup):
                    self._unit(job)
                else:
                    self._outside(job.id)
            for number in segment.aten_values:
                self._outside(number)
        flow = self.layout.flow
        wanted = [g.value for g in flow.gradients] if adjoint else [r.value for r in flow.results]
        self.reads += [(-1, n) for n in wanted if n >= 0 and n not in self.written]

    def _outside(self, number: int) -> None:
        operands = self.layout.flow.values[number].operands
        self.reads += [(number, r.value) for r in operands if r.value not in self.written]
        self.written.add(number)

    def _unit(self, unit: CpuKernelGroup) -> None:
        # In a loop an earlier step, or a later one, has run through all of its stages.
        others = {n for stage in unit.kernels for n in self._stored(stage)}
        for stage in unit.kernels:
            self.reads += self._faults(stage, others if unit.direction else set())
            stored = set(self._stored(stage))
            self.written |= stored
            self.written -= {number for number, heir in self.heirs.items() if heir in stored}

    def _stored(self, stage: CpuKernel) -> Iterator[int]:
        return (number for number in stage.values if number in self.layout.stored_values)

    def _faults(self, stage: CpuKernel, others: set[int]) -> Iterator[UninitializedRead]:
        flow, computed = self.layout.flow, set[int]()
        for found in stage.matmul_sums:
            for term in found.terms:
                if term.weight not in self.written:
                    yield found.value, term.weight
        for number in stage.values:
            for read in kernel_operands(flow, stage, number):
                if is_in_register(flow, stage, number, read):
                    known = read.value in computed
                else:
                    known = read.value in self.written or (read.delay != 0 and read.value in others)
                if not known:
                    yield number, read.value
            computed.add(number)
