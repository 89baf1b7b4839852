"""The plan as generated Triton kernels."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import torch
from torch import Tensor

from rnnc.compiler.backends.aten.plan_runner import Planned
from rnnc.compiler.backends.backend import Options, Saved
from rnnc.compiler.backends.cuda.autotune.strategy_report import account, here
from rnnc.compiler.backends.cuda.autotune.strategy_selection import choices_of
from rnnc.compiler.backends.cuda.autotune.tuning_table import chosen_libraries, runs_by_library
from rnnc.compiler.backends.cuda.codegen.kernel_arguments import Case
from rnnc.compiler.backends.cuda.codegen.kernel_file import program_of
from rnnc.compiler.backends.cuda.codegen.triton_build import is_interpreted, why_no_triton
from rnnc.compiler.backends.cuda.cudnn.cudnn_layers import Library
from rnnc.compiler.backends.cuda.execution.engine import CudaEngine
from rnnc.compiler.backends.cuda.execution.oom_retry import Enduring, attempt
from rnnc.compiler.backends.cuda.schedule.device_limits import why_not_this_chip
from rnnc.compiler.backends.cuda.schedule.loop_strategy import forced_tier
from rnnc.compiler.backends.warn_once import tell_once
from rnnc.compiler.calls.flattening import Key
from rnnc.compiler.calls.sequence_masks import like_of
from rnnc.compiler.errors import Unsupported
from rnnc.compiler.plan_cache import Planner
from rnnc.compiler.schedule.plan import Phase, Plan
from rnnc.operators.graph.operator_graph import OperatorGraph
from rnnc.operators.semantics.call import Call, Result

BY_LIBRARY: Final = 2
"""The last note of what torch's library has saved; that of own plans is 0 or 1."""


class Cuda:
    """Runs plans in kernels of its own, on NVIDIA's GPUs."""

    name = "cuda"
    obeys_autocast = True

    def __init__(self, graph: OperatorGraph, options: Options) -> None:
        self.graph, self.options = graph, options
        engine = CudaEngine()
        usual, lean = (
            Planner(graph, memory=memory, sink=True, without=options.without)
            for memory in (options.memory, "recompute")
        )
        self._planned = Planned(graph, usual, engine)
        self._calls = Enduring(self._planned, Planned(graph, lean, engine), engine)
        self._library = Library(graph)
        self._lock = threading.Lock()
        self._source: str | None = None
        self._lacking = ""

    def __deepcopy__(self, memo: dict[int, Any]) -> Cuda:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return Cuda, (self.graph, self.options)

    def refuses(self, like: Tensor) -> str:
        """It needs Triton, a GPU that Triton knows, and a kernel for everything in the graph."""
        missing = why_no_triton()
        interpreted = not missing and is_interpreted()
        if like.device.type != "cuda" and not interpreted:
            return f"it runs on NVIDIA's GPUs, not on {like.device}"
        if missing:
            return missing
        known = {torch.float32, torch.float16, torch.bfloat16}
        if interpreted:
            known = {torch.float64, torch.float32, torch.float16}
        if like.dtype not in known:
            return f"no kernels for {like.dtype}"
        if self.graph.has_windows and like.element_size() == 2:
            return f"no kernels for windows of time in {like.dtype}"
        if not interpreted:
            unfit = why_not_this_chip(like.device.index or 0)
            if unfit:
                return unfit
        self._write()
        return self._lacking

    def forward(self, call: Call, wanted: tuple[Key, ...]) -> tuple[Result, Saved]:
        """The forward phases.

        Raises:
            RnnError: RNN503, when a kernel cannot be built; RNN504, when the GPU fails.
            torch.OutOfMemoryError: when there is too little memory, also after a second try.
        """
        if self._is_by_library(call):
            found, _, why = attempt(lambda: self._library.forward(call, wanted))
            if found is not None:
                result, saved = found
                return result, replace(saved, notes=(BY_LIBRARY,)) if wanted else saved
            tell_once(f"rnnc: on from cuDNN to rnnc's own kernels: {why}")
        return self._calls.forward(call, wanted)

    def saves(self, call: Call, wanted: tuple[Key, ...]) -> int:
        """What the backward phases read."""
        return self._calls.saves(call, wanted)

    def backward(
        self,
        call: Call,
        wanted: tuple[Key, ...],
        saved: Saved,
        gradients: Mapping[Key, Tensor | None],
    ) -> Sequence[Tensor | None]:
        """The backward phases; raises what `forward` does."""
        if saved.notes[-1] == BY_LIBRARY:
            return self._library.backward(call, wanted, saved, gradients)
        return self._calls.backward(call, wanted, saved, gradients)

    def _is_by_library(self, call: Call) -> bool:
        """Whether cuDNN is known to be faster here: never before `rnnc bench --tune` has run."""
        library, like = self._library, like_of(call)
        if library.stack is None:
            return False
        known = runs_by_library(lambda: library.key(like.dtype, call.rows), like.device.index)
        return known and library.runs(call)

    def plan(self) -> Plan | None:
        """The plan of a training step."""
        return self._planned.usual()

    def code(self) -> str:
        """The kernels of a training step, as they are without resets and lengths.

        Raises:
            Unsupported: when the graph holds an operation that no kernel is written for.
        """
        source = self._write()
        if source is None:
            raise Unsupported(self._lacking)
        return source

    def explain(self, phase: Phase) -> str:
        """How a phase is computed: for a loop its tier, and why none that is faster."""
        match phase.kind:
            case "once":
                return "torch's library, once a call"
            case "batched":
                return "library products, generated kernels"
            case "scan":
                return "one kernel, a parallel scan over blocks of steps"
            case _:
                return account(self._planned.usual(), phase) + self._cudnn()

    def _cudnn(self) -> str:
        """For which batches cuDNN runs the model instead, in words."""
        if self._library.stack is None:
            return ""
        found = chosen_libraries(here().chip.name, self._library.about(torch.float32))
        rows = ", ".join(found)
        return f"; by cuDNN, measured to be faster: {rows}, no lengths or resets" if rows else ""

    def _write(self) -> str | None:
        """The source of a training step; None, and the reason, where it cannot be written."""
        with self._lock:
            if self._source is None and not self._lacking:
                try:
                    plan = self._planned.usual()
                    tiers = choices_of(plan, here(), forced_tier())
                    self._source = program_of(plan, Case(), tiers).source
                except Unsupported as error:
                    self._lacking = str(error)
            return self._source
