"""Reads of generated C from memory that is not written yet, found without running it."""

from __future__ import annotations

from collections.abc import Iterator

from rnnc.compiler.backends.cpu.schedule.buffer_slots import RESIDUAL_BLOCK
from rnnc.compiler.backends.cpu.schedule.frame_layout import is_in_register, kernel_operands
from rnnc.compiler.backends.cpu.schedule.inplace_reuse import find_inplace_reuse
from rnnc.compiler.backends.cpu.schedule.kernel_partition import CpuKernel, CpuKernelGroup
from rnnc.compiler.backends.cpu.specialize.compiled_program import CompiledProgram
from rnnc.compiler.ir.ops import SOURCE_OPS

UninitializedRead = tuple[int, int]
"""The id of a user (−1: the caller), and that of its operand."""


def find_uninitialized_reads(program: CompiledProgram) -> list[UninitializedRead]:
    """All such reads of both passes."""
    sources = {v.id for v in program.layout.flow.values if v.operation in SOURCE_OPS}
    forward = _PassChecker(program, set(sources), adjoint=False)
    assignment = program.slot_assignment(adjoint=False)
    in_residual_block = {
        value_id
        for value_id, slot in assignment.slot_of.items()
        if assignment.slots[slot].block == RESIDUAL_BLOCK
    }
    residuals = forward.written & (in_residual_block | set(program.aten_residuals))
    return [*forward.reads, *_PassChecker(program, sources | residuals, adjoint=True).reads]


class _PassChecker:
    """One pass, job by job; `written` is what memory holds so far."""

    def __init__(self, program: CompiledProgram, written: set[int], *, adjoint: bool) -> None:
        self.layout, self.written = program.layout, written
        groups = [group for group in program.generated_groups if group.adjoint == adjoint]
        stored = frozenset(
            value_id
            for group in groups
            for value_id in group.values
            if value_id in self.layout.stored_values
        )
        self.reuse = find_inplace_reuse(
            self.layout, groups, frozenset() if adjoint else program.residuals, stored
        )
        self.reads: list[UninitializedRead] = []
        for launch in program.launches(adjoint=adjoint):
            for job in launch.jobs:
                if isinstance(job, CpuKernelGroup):
                    self._run_group(job)
                else:
                    self._run_value(job.id)
            for value_id in launch.aten_values:
                self._run_value(value_id)
        flow = self.layout.flow
        results = [g.value for g in flow.gradients] if adjoint else [o.value for o in flow.results]
        self.reads += [(-1, n) for n in results if n >= 0 and n not in self.written]

    def _run_value(self, value_id: int) -> None:
        operands = self.layout.flow.values[value_id].operands
        self.reads += [(value_id, o.value) for o in operands if o.value not in self.written]
        self.written.add(value_id)

    def _run_group(self, group: CpuKernelGroup) -> None:
        # In a loop an earlier step, or a later one, has run through all kernels.
        other_steps = {n for kernel in group.kernels for n in self._stored(kernel)}
        for kernel in group.kernels:
            self.reads += self._kernel_reads(kernel, other_steps if group.direction else set())
            stored = set(self._stored(kernel))
            self.written |= stored
            self.written -= {source for source, result in self.reuse.items() if result in stored}

    def _stored(self, kernel: CpuKernel) -> Iterator[int]:
        return (value_id for value_id in kernel.values if value_id in self.layout.stored_values)

    def _kernel_reads(
        self, kernel: CpuKernel, other_steps: set[int]
    ) -> Iterator[UninitializedRead]:
        flow, computed = self.layout.flow, set[int]()
        for matmuls in kernel.matmul_sums:
            for term in matmuls.terms:
                if term.weight not in self.written:
                    yield matmuls.value, term.weight
        for value_id in kernel.values:
            for operand in kernel_operands(flow, kernel, value_id):
                source = operand.value
                if is_in_register(flow, kernel, value_id, operand):
                    is_written = source in computed
                else:
                    is_delayed = operand.delay != 0 and source in other_steps
                    is_written = source in self.written or is_delayed
                if not is_written:
                    yield value_id, source
            computed.add(value_id)
