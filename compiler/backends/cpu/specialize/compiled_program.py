"""A graph, a request and a dtype -> generated C and how to run it."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

import torch
from torch import Tensor

from rnnc.compiler.backends.cpu.codegen.emitter import CEmitter, prelude, tile_vectors
from rnnc.compiler.backends.cpu.schedule.buffer_slots import SlotAssignment, assign_slots
from rnnc.compiler.backends.cpu.schedule.frame_layout import FrameLayout
from rnnc.compiler.backends.cpu.schedule.gemm_candidates import (
    LibraryCandidate,
    find_library_candidates,
)
from rnnc.compiler.backends.cpu.schedule.kernel_partition import CpuKernelGroup, partition_kernels
from rnnc.compiler.backends.cpu.schedule.launch_segments import CpuLaunch, partition_launches
from rnnc.compiler.backends.cpu.schedule.window_access import window_multiplies
from rnnc.compiler.backends.cpu.toolchain.build_library import build_library
from rnnc.compiler.backends.cpu.toolchain.c_compiler import VECTOR_BYTES, CpuIsa
from rnnc.compiler.pipeline import build_dataflow
from rnnc.compiler.request import PlanRequest
from rnnc.compiler.schedule.loop_distribution import distribute_loops
from rnnc.operators.graph.operator_graph import OperatorGraph

from .packed_sequence import PackedSequence
from .shape_specialization import MIN_POOLED_NUMBERS, ShapeSpecialization

JOB_RUNNER_FUNCTIONS: Final = ("run_jobs", "run_again", "copy_rows")
"""The functions of `calls.h` that are called from here."""

_MULTIPLIES_PER_ELEMENTWISE_OP = 8
_MAX_SPECIALIZATIONS = 64


@dataclass(frozen=True)
class CompiledProgram:
    """A compiled flow: its units, and the library that runs those of generated code."""

    layout: FrameLayout
    emitter: CEmitter
    double: bool
    isa: CpuIsa
    libraries: list[ctypes.CDLL] = field(default_factory=list)
    specializations: dict[tuple[int, int, int, bool], ShapeSpecialization] = field(
        default_factory=dict
    )
    workspaces: list[Tensor] = field(default_factory=list)

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of all numbers."""
        return torch.float64 if self.double else torch.float32

    @cached_property
    def model_source(self) -> str:
        """The C of this model, without the part that all models share."""
        return self.emitter.emit()

    def source(self) -> str:
        """The whole C file."""
        return prelude(self.isa, double=self.double) + self.model_source

    def load(self) -> None:
        """Compile and load the functions, unless that is done.

        Raises:
            RnnError: RNN503, when the machine cannot compile.
        """
        if not self.libraries:
            functions = (
                self.emitter.function_name(u)
                for u in self.layout.kernel_groups
                if not u.runs_in_aten
            )
            self.libraries.append(
                build_library(
                    self.source(), self.isa, required_functions=(*JOB_RUNNER_FUNCTIONS, *functions)
                )
            )

    def run_jobs(self, *arguments: object) -> None:
        """Run compiled jobs (`calls.h`)."""
        self.libraries[0].run_jobs(*arguments)

    def copy_rows(self, table: ctypes.Array[ctypes.c_int64], count: int) -> None:
        """Copy rows (`calls.h`)."""
        self.libraries[0].copy_rows(table, count)

    def take_workspace(self, size: int) -> Tensor | None:
        """Memory of at least this size that a call has left; the system is slow to give more."""
        if not self.workspaces:
            return None
        try:
            found = self.workspaces.pop()
        except IndexError:  # another thread was faster
            return None
        return found if found.numel() >= size else None

    def return_workspace(self, workspace: Tensor) -> None:
        """Keep a call's memory for the next one, where it is so much that this matters."""
        if workspace.numel() >= MIN_POOLED_NUMBERS and not self.workspaces:
            self.workspaces.append(workspace)

    def function_address(self, unit: CpuKernelGroup) -> int:
        """Where a unit's function lies in this process."""
        function = getattr(self.libraries[0], self.emitter.function_name(unit))
        return ctypes.cast(function, ctypes.c_void_p).value or 0

    def launches(self, *, adjoint: bool) -> tuple[CpuLaunch, ...]:
        """The segments of one pass."""
        return self._launches[adjoint]

    @cached_property
    def _launches(self) -> tuple[tuple[CpuLaunch, ...], tuple[CpuLaunch, ...]]:
        found = [partition_launches(self.layout, adjoint=adjoint) for adjoint in (False, True)]
        return found[0], found[1]

    def slot_assignment(self, *, adjoint: bool) -> SlotAssignment:
        """The slots of one pass."""
        return self._slot_assignments[adjoint]

    @cached_property
    def _slot_assignments(self) -> tuple[SlotAssignment, SlotAssignment]:
        first = assign_slots(self.layout, self._launches[0], self.residuals, None)
        return first, assign_slots(self.layout, self._launches[1], frozenset(), first)

    def specialization(
        self, sequence: PackedSequence, threads: int, *, adjoint: bool
    ) -> ShapeSpecialization:
        """A pass for these rows: one that is known, where no row ends early or is reset."""
        if not sequence.is_uniform:
            return ShapeSpecialization(self, sequence, threads, adjoint=adjoint)
        key = (sequence.steps, sequence.batch_size, threads, adjoint)
        found = self.specializations.get(key)
        if found is None:
            if len(self.specializations) >= _MAX_SPECIALIZATIONS:
                self.specializations.clear()
            found = self.specializations[key] = ShapeSpecialization(
                self, sequence, threads, adjoint=adjoint
            )
        return found

    @cached_property
    def carry_lengths(self) -> dict[str, int]:
        """How many values before the first step a state or input has, by name."""
        graph = self.layout.flow.graph
        found = {s.name: 0 if s.node in graph.backward_nodes else s.delay for s in graph.states}
        return found | {v.name: v.max_delay for v in graph.inputs}

    @cached_property
    def random_states(self) -> frozenset[str]:
        """The states whose initial value is drawn."""
        states = self.layout.flow.graph.states
        return frozenset(s.name for s in states if s.initial_value.kind == "uniform")

    @cached_property
    def carry_values(self) -> dict[str, int]:
        """The values that hold what is carried on of states and inputs."""
        return {
            str(v.attributes[0]): v.id
            for v in self.layout.flow.values
            if v.operation == "state"
            or (v.operation == "input" and v.shape != () and v.id in self.layout.delayed_values)
        }

    @cached_property
    def packed_sizes(self) -> dict[int, int]:
        """For each unit how many numbers its packed matrices take."""
        return {
            u.index: self.emitter.packed_size(u)
            for u in self.layout.kernel_groups
            if not u.runs_in_aten
        }

    @cached_property
    def library_candidates(self) -> dict[int, tuple[LibraryCandidate, ...]]:
        """For each unit the stages whose products torch may take."""
        found = {
            u.index: find_library_candidates(self.layout, u)
            for u in self.layout.kernel_groups
            if not u.runs_in_aten
        }
        return {number: stages for number, stages in found.items() if stages}

    @cached_property
    def row_work(self) -> dict[int, int]:
        """For each unit about how many multiplications a row takes."""
        return {
            u.index: self.packed_sizes[u.index]
            + _MULTIPLIES_PER_ELEMENTWISE_OP * sum(s.width * len(s.values) for s in u.kernels)
            + sum(window_multiplies(self.layout.flow.values[number]) for number in u.values)
            for u in self.layout.kernel_groups
            if not u.runs_in_aten
        }

    @cached_property
    def residuals(self) -> frozenset[int]:
        """Forward values that the backward pass reads."""
        values = self.layout.flow.values
        return frozenset(
            read.value
            for value in values
            if value.adjoint
            for read in value.operands
            if not values[read.value].adjoint
        )

    @cached_property
    def aten_residuals(self) -> tuple[int, ...]:
        """Those of them that ATen has computed."""
        made = {n for segment in self.launches(adjoint=False) for n in segment.aten_values}
        return tuple(sorted(self.residuals & made))


# The stages of generated code interleave products themselves; and a stacked matrix would be a copy.
DISABLED_PASSES = frozenset({"stack", "pack"})


def compile_program(
    graph: OperatorGraph, request: PlanRequest, *, double: bool, isa: CpuIsa
) -> CompiledProgram:
    """Everything but the C compiler's part.

    Raises:
        Unsupported: when the graph holds an operation that only the reference knows.
    """
    flow = build_dataflow(graph, request)
    units = partition_kernels(
        flow, distribute_loops(flow, sink_elementwise=request.sink_elementwise)
    )
    lanes = VECTOR_BYTES[isa] // (8 if double else 4)
    layout = FrameLayout(flow, units, lanes)
    return CompiledProgram(layout, CEmitter(layout, tile_vectors(isa)), double, isa)
