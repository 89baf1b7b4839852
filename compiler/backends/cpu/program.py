"""A graph, a request and a dtype -> generated C and how to run it."""

from __future__ import annotations

import ctypes
import re
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from ....operators.graph import OperatorGraph
from ...pipeline import flow_for
from ...request import Request
from ...schedule import schedule
from .build import build
from .emit import Emitter, prelude, tile_vectors
from .layout import Layout
from .stages import Unit, units_of
from .toolchain import VECTOR_BYTES, Level

_MULTIPLICATIONS_A_FUNCTION = 8


class Frame(ctypes.Structure):
    """What a call of a unit is given (`frame.h`)."""

    _fields_ = (
        ("at", ctypes.c_void_p),
        ("index", ctypes.c_void_p),
        ("row_of", ctypes.c_void_p),
        ("offset", ctypes.c_void_p),
        ("steps", ctypes.c_int64),
        ("rows", ctypes.c_int64),
        ("total", ctypes.c_int64),
        ("threads", ctypes.c_int64),
        ("panels", ctypes.c_void_p),
    )


@dataclass(frozen=True)
class Program:
    """A compiled flow: its units, and the library that runs those of generated code."""

    layout: Layout
    emitter: Emitter
    double: bool
    level: Level
    libraries: list[ctypes.CDLL] = field(default_factory=list)

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
            self.libraries.append(build(self.source(), self.level))

    def run(self, unit: Unit, frame: Frame, along: int) -> None:
        """Run one unit of generated code."""
        function = getattr(self.libraries[0], self.emitter.function(unit))
        function(ctypes.byref(frame), ctypes.c_long(along))

    def outer_sum(
        self, a: Tensor, a_rows: Tensor | None, b: Tensor, b_rows: Tensor | None, depth: int
    ) -> Tensor:
        """Σ aᵀ b over rows, through the tables of rows if there are any; (M, N), contiguous."""
        lanes, tile = self.layout.lanes, 6
        m, n = a.shape[1], b.shape[1]
        tiles, stride = -(-m // tile), self.layout.padded(n)
        threads = torch.get_num_threads()
        room = (tiles * tile + self.emitter.vectors * lanes) * 256
        result = torch.empty(tiles * tile, stride, dtype=self.dtype)
        work = torch.empty(threads * room, dtype=self.dtype)
        self.libraries[0].outer_sum(
            *map(ctypes.c_void_p, (result.data_ptr(),)),
            *map(ctypes.c_long, (m, n, depth)),
            ctypes.c_void_p(a.data_ptr()),
            ctypes.c_long(a.stride(0)),
            ctypes.c_void_p(None if a_rows is None else a_rows.data_ptr()),
            ctypes.c_void_p(b.data_ptr()),
            ctypes.c_long(b.stride(0)),
            ctypes.c_void_p(None if b_rows is None else b_rows.data_ptr()),
            ctypes.c_void_p(work.data_ptr()),
            ctypes.c_long(threads),
        )
        return result[:m, :n].contiguous()

    @cached_property
    def panel_sizes(self) -> dict[int, int]:
        """For each unit how many numbers its packed matrices take."""
        return {u.number: self.emitter.panel_size(u) for u in self.layout.units if not u.outside}

    @cached_property
    def work(self) -> dict[int, int]:
        """For each unit about how many multiplications a row takes."""
        return {
            u.number: self.panel_sizes[u.number]
            + _MULTIPLICATIONS_A_FUNCTION * sum(s.width * len(s.values) for s in u.stages)
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


# The stages of generated code interleave products themselves; and a stacked matrix would be a copy.
WITHOUT = frozenset({"stack", "pack"})


def compile_program(
    graph: OperatorGraph, request: Request, *, double: bool, level: Level, name: str = ""
) -> Program:
    """Everything but the C compiler's part.

    Raises:
        Unsupported: when the graph holds an operation that only the reference knows.
    """
    flow = flow_for(graph, request)
    units = units_of(flow, schedule(flow, sink=request.sink))
    lanes = VECTOR_BYTES[level] // (8 if double else 4)
    layout = Layout(flow, units, lanes)
    safe = re.sub(r"[^A-Za-z0-9]", "_", name or "model") if name.isascii() else "model"
    return Program(layout, Emitter(layout, tile_vectors(level), f"m_{safe}"), double, level)
