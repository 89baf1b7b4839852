"""A graph, a request and a dtype -> generated C and how to run it."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

import torch
from torch import Tensor

from rnnc.compiler.backends.cpu.codegen.emitter import Emitter, prelude, tile_vectors
from rnnc.compiler.backends.cpu.schedule.buffer_slots import Memory, memory_of
from rnnc.compiler.backends.cpu.schedule.frame_layout import Layout
from rnnc.compiler.backends.cpu.schedule.gemm_candidates import Wide, wide_stages
from rnnc.compiler.backends.cpu.schedule.kernel_partition import Unit, units_of
from rnnc.compiler.backends.cpu.schedule.launch_segments import Segment, segments_of
from rnnc.compiler.backends.cpu.schedule.window_access import window_work
from rnnc.compiler.backends.cpu.toolchain.build_library import build
from rnnc.compiler.backends.cpu.toolchain.c_compiler import VECTOR_BYTES, Level
from rnnc.compiler.pipeline import flow_for
from rnnc.compiler.request import Request
from rnnc.compiler.schedule.loop_distribution import schedule
from rnnc.operators.graph.operator_graph import OperatorGraph

from .packed_sequence import Rows
from .shape_specialization import WORTH_KEEPING, Geometry

ENTRIES: Final = ("run_jobs", "run_again", "copy_rows")
"""The functions of `calls.h` that are called from here."""

_MULTIPLICATIONS_A_FUNCTION = 8
_MOST_GEOMETRIES = 64


@dataclass(frozen=True)
class Program:
    """A compiled flow: its units, and the library that runs those of generated code."""

    layout: Layout
    emitter: Emitter
    double: bool
    level: Level
    libraries: list[ctypes.CDLL] = field(default_factory=list)
    geometries: dict[tuple[int, int, int, bool], Geometry] = field(default_factory=dict)
    spares: list[Tensor] = field(default_factory=list)

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of all numbers."""
        return torch.float64 if self.double else torch.float32

    @cached_property
    def text(self) -> str:
        """The C of this model, without the part that all models share."""
        return self.emitter.text()

    def source(self) -> str:
        """The whole C file."""
        return prelude(self.level, double=self.double) + self.text

    def load(self) -> None:
        """Compile and load the functions, unless that is done.

        Raises:
            RnnError: RNN503, when the machine cannot compile.
        """
        if not self.libraries:
            functions = (self.emitter.function(u) for u in self.layout.units if not u.outside)
            self.libraries.append(build(self.source(), self.level, needs=(*ENTRIES, *functions)))

    def run_jobs(self, *arguments: object) -> None:
        """Run compiled jobs (`calls.h`)."""
        self.libraries[0].run_jobs(*arguments)

    def copy_rows(self, table: ctypes.Array[ctypes.c_int64], count: int) -> None:
        """Copy rows (`calls.h`)."""
        self.libraries[0].copy_rows(table, count)

    def spare(self, size: int) -> Tensor | None:
        """Memory of at least this size that a call has left; the system is slow to give more."""
        if not self.spares:
            return None
        try:
            found = self.spares.pop()
        except IndexError:  # another thread was faster
            return None
        return found if found.numel() >= size else None

    def leave(self, scratch: Tensor) -> None:
        """Keep a call's memory for the next one, where it is so much that this matters."""
        if scratch.numel() >= WORTH_KEEPING and not self.spares:
            self.spares.append(scratch)

    def address(self, unit: Unit) -> int:
        """Where a unit's function lies in this process."""
        function = getattr(self.libraries[0], self.emitter.function(unit))
        return ctypes.cast(function, ctypes.c_void_p).value or 0

    def segments(self, *, adjoint: bool) -> tuple[Segment, ...]:
        """The segments of one pass."""
        return self._segments[adjoint]

    @cached_property
    def _segments(self) -> tuple[tuple[Segment, ...], tuple[Segment, ...]]:
        found = [segments_of(self.layout, adjoint=adjoint) for adjoint in (False, True)]
        return found[0], found[1]

    def memory(self, *, adjoint: bool) -> Memory:
        """The slots of one pass."""
        return self._memory[adjoint]

    @cached_property
    def _memory(self) -> tuple[Memory, Memory]:
        first = memory_of(self.layout, self._segments[0], self.saved, None)
        return first, memory_of(self.layout, self._segments[1], frozenset(), first)

    def geometry(self, rows: Rows, threads: int, *, adjoint: bool) -> Geometry:
        """A pass for these rows: one that is known, where no row ends early or is reset."""
        if not rows.is_plain:
            return Geometry(self, rows, threads, adjoint=adjoint)
        key = (rows.steps, rows.rows, threads, adjoint)
        found = self.geometries.get(key)
        if found is None:
            if len(self.geometries) >= _MOST_GEOMETRIES:
                self.geometries.clear()
            found = self.geometries[key] = Geometry(self, rows, threads, adjoint=adjoint)
        return found

    @cached_property
    def history(self) -> dict[str, int]:
        """How many values before the first step a state or input has, by name."""
        graph = self.layout.flow.graph
        found = {s.name: 0 if s.node in graph.backward else s.delay for s in graph.states}
        return found | {v.name: v.history for v in graph.inputs}

    @cached_property
    def drawn(self) -> frozenset[str]:
        """The states whose initial value is drawn."""
        states = self.layout.flow.graph.states
        return frozenset(s.name for s in states if s.initial.kind == "uniform")

    @cached_property
    def carried(self) -> dict[str, int]:
        """The values that hold what is carried on of states and inputs."""
        return {
            str(v.attributes[0]): v.number
            for v in self.layout.flow.values
            if v.operation == "state"
            or (v.operation == "input" and v.shape != () and v.number in self.layout.delayed)
        }

    @cached_property
    def panel_sizes(self) -> dict[int, int]:
        """For each unit how many numbers its packed matrices take."""
        return {u.number: self.emitter.panel_size(u) for u in self.layout.units if not u.outside}

    @cached_property
    def wide(self) -> dict[int, tuple[Wide, ...]]:
        """For each unit the stages whose products torch may take."""
        found = {u.number: wide_stages(self.layout, u) for u in self.layout.units if not u.outside}
        return {number: stages for number, stages in found.items() if stages}

    @cached_property
    def work(self) -> dict[int, int]:
        """For each unit about how many multiplications a row takes."""
        return {
            u.number: self.panel_sizes[u.number]
            + _MULTIPLICATIONS_A_FUNCTION * sum(s.width * len(s.values) for s in u.stages)
            + sum(window_work(self.layout.flow.values[number]) for number in u.values)
            for u in self.layout.units
            if not u.outside
        }

    @cached_property
    def saved(self) -> frozenset[int]:
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
    def saved_outside(self) -> tuple[int, ...]:
        """Those of them that ATen has computed."""
        made = {n for segment in self.segments(adjoint=False) for n in segment.outside}
        return tuple(sorted(self.saved & made))


# The stages of generated code interleave products themselves; and a stacked matrix would be a copy.
WITHOUT = frozenset({"stack", "pack"})


def compile_program(
    graph: OperatorGraph, request: Request, *, double: bool, level: Level
) -> Program:
    """Everything but the C compiler's part.

    Raises:
        Unsupported: when the graph holds an operation that only the reference knows.
    """
    flow = flow_for(graph, request)
    units = units_of(flow, schedule(flow, sink=request.sink))
    lanes = VECTOR_BYTES[level] // (8 if double else 4)
    layout = Layout(flow, units, lanes)
    return Program(layout, Emitter(layout, tile_vectors(level)), double, level)
