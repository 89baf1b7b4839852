"""The phases of a plan on a GPU: kernels launched, and what the library does between them."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ....operators.call import Call
from ...plan import Phase, Plan
from ...request import Request
from ..aten.batched import run_batched
from ..aten.memory import Memory
from ..boundaries import Boundaries, like_of
from .arguments import Case
from .build import functions_of
from .kernels import Kernel
from .library import run_library
from .memory import CudaMemory
from .precision import product_precision
from .program import Program, program_of
from .steps import Recordings, run_steps
from .tiling import tiling_of


@dataclass(frozen=True)
class Launch:
    """A kernel with the tensors of one call, ready to be started any number of times."""

    start: Any
    tensors: tuple[Tensor, ...]
    grid: tuple[int, int]
    sizes: dict[str, Any]

    @property
    def key(self) -> tuple[Any, ...]:
        """All that a recording of it depends on."""
        addresses = tuple(tensor.data_ptr() for tensor in self.tensors)
        return (id(self.start), self.grid, tuple(self.sizes.items()), addresses)

    def __call__(self, *given: Any) -> None:
        """Start it; `given` are its first parameters."""
        self.start[self.grid](*given, *self.tensors, **self.sizes)


class CudaEngine:
    """Computes phases; shared by all calls of a model, in any thread."""

    def __init__(self) -> None:
        self._programs: dict[tuple[Request, Case], Program] = {}
        self._lock = threading.Lock()
        self._recordings = Recordings()

    def prepared(self, plan: Plan, call: Call) -> CudaMemory:
        """The memory of a call before its first phase."""
        like = like_of(call).detach()
        return CudaMemory(plan, call, like, Boundaries(call, like))

    def program(self, plan: Plan, case: Case) -> Program:
        """The kernels of a plan, written when they are first asked for."""
        key = (plan.request, case)
        with self._lock:
            if key not in self._programs:
                self._programs[key] = program_of(plan, case)
            return self._programs[key]

    def run_phases(self, phases: Iterable[Phase], memory: Memory) -> None:
        """Compute some phases; what no later one reads is let go."""
        assert isinstance(memory, CudaMemory)
        program = self.program(memory.plan, case_of(memory))
        for phase in phases:
            for number in phase.values:
                value = memory.values[number]
                if value.operation == "state":
                    memory.fill_margins(value)
            if phase.kind == "once":
                run_batched(phase, memory)
            elif phase.kind == "batched":
                for group, kernels in zip(phase.groups, program.groups[phase.number], strict=True):
                    run_library(group, memory)
                    for kernel in kernels:
                        self._start(program, kernel, memory, memory.call.steps)
            elif phase.kind == "scan":
                for kernel in program.loops[phase.number]:
                    self._start(program, kernel, memory, memory.call.steps)
            elif memory.call.steps and memory.call.rows:
                launches = [
                    self.launch(program, kernel, memory) for kernel in program.loops[phase.number]
                ]
                run_steps(launches, memory.call.steps, memory.call.rows, self._recordings)
            memory.release(phase.number, frozenset())

    def launch(self, program: Program, kernel: Kernel, memory: CudaMemory) -> Launch:
        """A kernel bound to the tensors of a call."""
        call, tiling = memory.call, tiling_of(kernel, memory.like.element_size())
        tensors = tuple(argument.bind(memory) for argument in kernel.arguments)
        count = call.rows
        if kernel.drive == "rows":
            count *= call.steps
        grid = tiling.grid(count, kernel.width)
        if kernel.drive == "scan":
            grid = (call.rows, grid[1])
        sizes = {
            "PRECISION": "ieee" if memory.like.dtype != torch.float32 else product_precision(),
            "BM": tiling.rows,
            "BN": tiling.columns,
            "BK": tiling.depth,
            "num_warps": tiling.warps,
        }
        return Launch(functions_of(program.source)[kernel.name], tensors, grid, sizes)

    def _start(self, program: Program, kernel: Kernel, memory: CudaMemory, steps: int) -> None:
        if steps and memory.call.rows:
            self.launch(program, kernel, memory)(steps, memory.call.rows)


def case_of(memory: Memory) -> Case:
    """What kernels of a call are written for."""
    call, dtype = memory.call, memory.like.dtype
    return Case(
        resets=call.resets is not None,
        lengths=call.lengths is not None,
        real="float64" if dtype == torch.float64 else "float32",
        tiny=torch.finfo(dtype).tiny,
    )
