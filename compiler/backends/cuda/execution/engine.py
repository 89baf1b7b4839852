"""The phases of a plan on a GPU: kernels launched, and what the library does between them."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from rnnc.compiler.backends.aten.batched_phase import run_batched
from rnnc.compiler.backends.aten.buffers import Memory
from rnnc.compiler.backends.cuda.autotune.kernel_resources import options_of
from rnnc.compiler.backends.cuda.autotune.strategy_selection import choices_of
from rnnc.compiler.backends.cuda.autotune.tile_sizes import tiling_of
from rnnc.compiler.backends.cuda.autotune.tuning_table import tuned_tiling
from rnnc.compiler.backends.cuda.codegen.kernel_arguments import Case
from rnnc.compiler.backends.cuda.codegen.kernel_file import Program, program_of
from rnnc.compiler.backends.cuda.codegen.stage_kernels import Kernel
from rnnc.compiler.backends.cuda.codegen.triton_build import functions_of
from rnnc.compiler.backends.cuda.schedule.device_limits import H200, chip_of
from rnnc.compiler.backends.cuda.schedule.loop_strategy import Choice, Tier, forced_tier, why_unfit
from rnnc.compiler.backends.cuda.schedule.matmul_precision import precision_of
from rnnc.compiler.backends.cuda.schedule.persistent_layout import Setting
from rnnc.compiler.backends.warn_once import tell_once
from rnnc.compiler.calls.sequence_masks import Boundaries, like_of
from rnnc.compiler.request import Request
from rnnc.compiler.schedule.plan import Phase, Plan
from rnnc.operators.semantics.call import Call

from .buffers import CudaMemory
from .cooperative_launch import Meetings, run_grid
from .cuda_graphs import Recordings, run_steps
from .library_ops import run_library


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

    def __call__(self, *given: Any, **more: Any) -> None:
        """Start it; `given` are its first parameters, `more` the last ones."""
        self.start[self.grid](*given, *self.tensors, **self.sizes, **more)


class CudaEngine:
    """Computes phases; shared by all calls of a model, in any thread."""

    def __init__(self) -> None:
        self._programs: dict[tuple[Any, ...], Program] = {}
        self._tiers: dict[tuple[Any, ...], dict[int, Choice]] = {}
        self._unfit: dict[tuple[Request, Case], dict[int, dict[Tier, str]]] = {}
        self._lock = threading.Lock()
        self._recordings = Recordings()
        self._meetings = Meetings()
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
        """The kernels of a call, written when they are first asked for.

        Raises:
            RnnError: when a tier is forced that does not fit (RNN501).
        """
        plan, case = memory.plan, case_of(memory)
        setting, forced = setting_of(memory), "graph" if self._without_kept else forced_tier()
        with self._lock:
            unfit = self._unfit.setdefault((plan.request, case), {})
            key = (plan.request, case, setting, forced, str(unfit))
            if key not in self._tiers:
                self._tiers[key] = choices_of(plan, setting, forced, unfit)
            tiers = self._tiers[key]
            written = (plan.request, case, tuple(tiers.items()))
            if written not in self._programs:
                self._programs[written] = program_of(plan, case, tiers)
            return self._programs[written]

    def run_phases(self, phases: Iterable[Phase], memory: Memory) -> None:
        """Compute some phases; what no later one reads is let go."""
        assert isinstance(memory, CudaMemory)
        self._meetings.check()
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
            elif memory.call.steps and memory.call.rows:
                program = self._loop(program, phase.number, memory)
            memory.release(phase.number, frozenset())

    def _loop(self, program: Program, number: int, memory: CudaMemory) -> Program:
        """All steps of a loop; the program with the tier that the machine could run."""
        while True:
            tier = program.tiers[number].tier
            try:
                self._steps(program, program.loops[number], memory)
                return program
            except Exception as error:
                why = why_unfit(error) if tier != "graph" else ""
                if not why:
                    raise
            with self._lock:
                unfit = self._unfit[memory.plan.request, case_of(memory)]
                unfit.setdefault(number, {})[tier] = why
            program = self.program(memory)

    def _steps(self, program: Program, kernels: Sequence[Kernel], memory: CudaMemory) -> None:
        launches = [self.launch(program, kernel, memory) for kernel in kernels]
        size = (memory.call.steps, memory.call.rows)
        match kernels[0].drive:
            case "chip":
                launches[0](*size)
            case "grid":
                groups, device = launches[0].grid[1], memory.like.device
                run_grid(launches[0], kernels[0].products, groups, size, self._meetings, device)
            case _:
                run_steps(launches, *size, self._recordings)

    def launch(self, program: Program, kernel: Kernel, memory: CudaMemory) -> Launch:
        """A kernel bound to the tensors of a call."""
        call, like = memory.call, memory.like
        tuned = tuned_tiling(kernel, like.element_size(), like.device.index)
        tiling = tuned or tiling_of(kernel, like.element_size())
        tensors = tuple(argument.bind(memory) for argument in kernel.arguments)
        count = call.rows
        if kernel.drive == "rows":
            count *= call.steps
        grid = tiling.grid(count, kernel.width)
        if kernel.drive == "scan":
            grid = (call.rows, grid[1])
        elif kernel.shape is not None:
            slices = kernel.shape.slices
            grid = (grid[0], slices)
            if kernel.drive == "grid":
                grid = (slices, kernel.shape.groups(call.rows, setting_of(memory).chip))
        sizes = {"PRECISION": precision_of(memory.like.dtype), "BM": tiling.rows}
        if kernel.shape is None:
            sizes |= {"BN": tiling.columns, "BK": tiling.depth}
        sizes |= options_of(kernel, tiling)
        return Launch(functions_of(program.source)[kernel.name], tensors, grid, sizes)

    def _start(self, program: Program, kernel: Kernel, memory: CudaMemory, steps: int) -> None:
        if steps and memory.call.rows:
            self.launch(program, kernel, memory)(steps, memory.call.rows)


def setting_of(memory: Memory) -> Setting:
    """What tiers are chosen from; in the interpreter, for an H200."""
    like = memory.like
    chip = chip_of(like.device.index or 0) if like.device.type == "cuda" else H200
    recorded = like.device.type == "cuda" and torch.cuda.is_current_stream_capturing()
    bytes_ = min(4, like.element_size())
    return Setting(chip, bytes_, precision_of(like.dtype), memory.call.rows, recorded)


def case_of(memory: Memory) -> Case:
    """What kernels of a call are written for."""
    call, dtype = memory.call, memory.like.dtype
    return Case(
        resets=call.resets is not None,
        lengths=call.lengths is not None,
        real="float64" if dtype == torch.float64 else "float32",
        tiny=torch.finfo(dtype).tiny,
    )
