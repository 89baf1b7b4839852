"""A graph, a request and a dtype -> generated C, and all that is known of it without T and B.

Input: an operator graph. Output: launches, buffer slots and work estimates of both passes, and the
library of generated functions once it is loaded.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

import torch

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

from .workspace_pool import WorkspacePool

JOB_RUNNER_FUNCTIONS: Final = ("run_jobs", "run_replay", "copy_rows")
"""The entry points of `csrc/job_runner.h`."""

_MULTIPLIES_PER_ELEMENTWISE_OP: Final = 8
"""A guess: exp, tanh and their like take about as long as so many multiplications."""

DISABLED_PASSES: Final = frozenset({"stack", "pack"})
"""Generated kernels interleave matmuls by themselves; a stacked matrix would only be a copy."""


@dataclass(frozen=True)
class CompiledProgram:
    """A dataflow cut into kernels, with the library that holds the generated ones.

    libraries: empty until `load`.
    """

    layout: FrameLayout
    emitter: CEmitter
    double: bool
    isa: CpuIsa
    libraries: list[ctypes.CDLL] = field(default_factory=list)
    workspaces: WorkspacePool = field(default_factory=WorkspacePool)

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of all numbers."""
        return torch.float64 if self.double else torch.float32

    @cached_property
    def model_source(self) -> str:
        """The C of this model, without the part that all models share."""
        return self.emitter.emit()

    def source(self) -> str:
        """Return the whole C file."""
        return prelude(self.isa, double=self.double) + self.model_source

    def load(self) -> None:
        """Compile and load the library, unless that is done.

        Raises:
            RnnError: RNN503, when the machine cannot compile.
        """
        if not self.libraries:
            functions = (self.emitter.function_name(group) for group in self.generated_groups)
            required = (*JOB_RUNNER_FUNCTIONS, *functions)
            library = build_library(self.source(), self.isa, required_functions=required)
            self.libraries.append(library)

    def run_jobs(self, *arguments: object) -> None:
        """Call `run_jobs` of `csrc/job_runner.h`."""
        self.libraries[0].run_jobs(*arguments)

    def copy_rows(self, table: ctypes.Array[ctypes.c_int64], count: int) -> None:
        """Call `copy_rows` of `csrc/job_runner.h`."""
        self.libraries[0].copy_rows(table, count)

    def function_address(self, group: CpuKernelGroup) -> int:
        """Return the address of a group's function in this process."""
        function = getattr(self.libraries[0], self.emitter.function_name(group))
        return ctypes.cast(function, ctypes.c_void_p).value or 0

    @cached_property
    def generated_groups(self) -> tuple[CpuKernelGroup, ...]:
        """The kernel groups of generated code, of both passes."""
        return tuple(group for group in self.layout.kernel_groups if not group.runs_in_aten)

    def launches(self, *, adjoint: bool) -> tuple[CpuLaunch, ...]:
        """Return the launches of one pass in order."""
        return self._launches[adjoint]

    @cached_property
    def _launches(self) -> tuple[tuple[CpuLaunch, ...], tuple[CpuLaunch, ...]]:
        forward = partition_launches(self.layout, adjoint=False)
        return forward, partition_launches(self.layout, adjoint=True)

    def slot_assignment(self, *, adjoint: bool) -> SlotAssignment:
        """Return the buffer slots of one pass."""
        return self._slot_assignments[adjoint]

    @cached_property
    def _slot_assignments(self) -> tuple[SlotAssignment, SlotAssignment]:
        forward = assign_slots(self.layout, self._launches[0], self.residuals, None)
        return forward, assign_slots(self.layout, self._launches[1], frozenset(), forward)

    @cached_property
    def carry_lengths(self) -> dict[str, int]:
        """Steps before the first one that a state or input has values of, by name."""
        graph = self.layout.flow.graph
        steps = {s.name: 0 if s.node in graph.backward_nodes else s.delay for s in graph.states}
        return steps | {v.name: v.max_delay for v in graph.inputs}

    @cached_property
    def random_states(self) -> frozenset[str]:
        """Names of the states whose initial value is drawn."""
        states = self.layout.flow.graph.states
        return frozenset(s.name for s in states if s.initial_value.kind == "uniform")

    @cached_property
    def carry_values(self) -> dict[str, int]:
        """Ids of the values that hold the carry of states and inputs, by name."""
        return {
            str(v.attributes[0]): v.id
            for v in self.layout.flow.values
            if v.operation == "state"
            or (v.operation == "input" and v.shape != () and v.id in self.layout.delayed_values)
        }

    @cached_property
    def packed_sizes(self) -> dict[int, int]:
        """Numbers of the packed matrices of each group, by its index."""
        return {group.index: self.emitter.packed_size(group) for group in self.generated_groups}

    @cached_property
    def library_candidates(self) -> dict[int, tuple[LibraryCandidate, ...]]:
        """Kernels whose GEMMs torch may compute, by the index of their group."""
        candidates = {
            group.index: find_library_candidates(self.layout, group)
            for group in self.generated_groups
        }
        return {index: kernels for index, kernels in candidates.items() if kernels}

    @cached_property
    def row_work(self) -> dict[int, int]:
        """Estimated multiplications of one row in each group, by its index."""
        values = self.layout.flow.values
        return {
            group.index: self.packed_sizes[group.index]
            + _MULTIPLIES_PER_ELEMENTWISE_OP * sum(k.width * len(k.values) for k in group.kernels)
            + sum(window_multiplies(values[value_id]) for value_id in group.values)
            for group in self.generated_groups
        }

    @cached_property
    def residuals(self) -> frozenset[int]:
        """Ids of the forward values that the backward pass reads."""
        values = self.layout.flow.values
        return frozenset(
            operand.value
            for value in values
            if value.adjoint
            for operand in value.operands
            if not values[operand.value].adjoint
        )

    @cached_property
    def aten_residuals(self) -> tuple[int, ...]:
        """Ids of the residuals that ATen computes; they are tensors of their own."""
        launches = self.launches(adjoint=False)
        aten_values = {value_id for launch in launches for value_id in launch.aten_values}
        return tuple(sorted(self.residuals & aten_values))


def compile_program(
    graph: OperatorGraph, request: PlanRequest, *, double: bool, isa: CpuIsa
) -> CompiledProgram:
    """Partition a graph into kernels and prepare their C; `CompiledProgram.load` compiles it.

    Raises:
        Unsupported: when the graph holds an operation that only the reference knows.
    """
    flow = build_dataflow(graph, request)
    phases = distribute_loops(flow, sink_elementwise=request.sink_elementwise)
    lanes = VECTOR_BYTES[isa] // (8 if double else 4)
    layout = FrameLayout(flow, partition_kernels(flow, phases), lanes)
    return CompiledProgram(layout, CEmitter(layout, tile_vectors(isa)), double, isa)
