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
from ..aten.batched import run_batched
from ..aten.memory import Memory
from ..boundaries import Boundaries, like_of
from ..guarded import tell_once
from .arguments import Case
from .build import functions_of
from .chip import H200, chip_of
from .kernels import Kernel
from .library import run_library
from .memory import CudaMemory
from .precision import precision_of
from .program import Program, choices_of, program_of
from .shapes import Setting
from .steps import Recordings, run_steps
from .tiers import forced_tier
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
        self._programs: dict[tuple[Any, ...], Program] = {}
        self._lock = threading.Lock()
        self._recordings = Recordings()
        self._without_kept = False

    def let_go(self) -> None:
        """Drop what was recorded: each recording has memory of its own."""
        self._recordings.clear()

    def simplify(self, why: str) -> bool:
        """After a kernel that cannot be built: keep no weights on chip from now on, and say so.

        Returns: whether that is anything new.
        """
        tiers = {
            tier.tier for program in self._programs.values() for tier in program.tiers.values()
        }
        if self._without_kept or forced_tier() or tiers <= {"graph"}:
            return False
        self._without_kept = True
        tell_once(f"rnnc: on to tier graph, which is slower: Triton cannot build a kernel: {why}")
        return True

    def prepared(self, plan: Plan, call: Call) -> CudaMemory:
        """The memory of a call before its first phase."""
        like = like_of(call).detach()
        return CudaMemory(plan, call, like, Boundaries(call, like))

    def program(self, memory: Memory) -> Program:
        """The kernels of a call, written when they are first asked for."""
        plan, case, setting, forced = (
            memory.plan,
            case_of(memory),
            setting_of(memory),
            "graph" if self._without_kept else forced_tier(),
        )
        key = (plan.request, case, setting, forced)
        with self._lock:
            if key not in self._programs:
                tiers = choices_of(plan, setting, forced)
                self._programs[key] = program_of(plan, case, tiers)
            return self._programs[key]

    def run_phases(self, phases: Iterable[Phase], memory: Memory) -> None:
        """Compute some phases; what no later one reads is let go."""
        assert isinstance(memory, CudaMemory)
        program = self.program(memory)
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
            elif program.tiers[phase.number].tier == "chip":
                (kernel,) = program.loops[phase.number]
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
        if kernel.shape is not None:
            grid = (grid[0], kernel.shape.slices)
        if kernel.drive == "scan":
            grid = (call.rows, grid[1])
        sizes = {
            "PRECISION": precision_of(memory.like.dtype),
            "BM": tiling.rows,
            "num_warps": tiling.warps,
        }
        if kernel.shape is None:
            sizes |= {"BN": tiling.columns, "BK": tiling.depth}
        else:
            sizes["num_stages"] = 1
        return Launch(functions_of(program.source)[kernel.name], tensors, grid, sizes)

    def _start(self, program: Program, kernel: Kernel, memory: CudaMemory, steps: int) -> None:
        if steps and memory.call.rows:
            self.launch(program, kernel, memory)(steps, memory.call.rows)


def setting_of(memory: Memory) -> Setting:
    """What tiers are chosen from; in the interpreter, for an H200."""
    like = memory.like
    chip = chip_of(like.device.index or 0) if like.device.type == "cuda" else H200
    return Setting(chip, min(4, like.element_size()), precision_of(like.dtype), memory.call.rows)


def case_of(memory: Memory) -> Case:
    """What kernels of a call are written for."""
    call, dtype = memory.call, memory.like.dtype
    return Case(
        resets=call.resets is not None,
        lengths=call.lengths is not None,
        real="float64" if dtype == torch.float64 else "float32",
        tiny=torch.finfo(dtype).tiny,
    )
