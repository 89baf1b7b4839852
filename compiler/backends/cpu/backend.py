"""The plan as generated C: the fastest backend on a CPU with a C compiler."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor

from rnnc.compiler.backends.backend import Options, Residuals
from rnnc.compiler.backends.cpu.execution.forward_backward import (
    call_dtype,
    run_backward,
    run_forward,
)
from rnnc.compiler.backends.cpu.execution.launch_plan import build_launch_plan
from rnnc.compiler.backends.cpu.execution.replay import MAX_REPLAY_ELEMENTS, CpuReplay
from rnnc.compiler.backends.cpu.specialize.compiled_program import (
    DISABLED_PASSES,
    CompiledProgram,
    compile_program,
)
from rnnc.compiler.backends.cpu.specialize.gradient_signature import (
    depends_on_mode,
    widen_gradients,
)
from rnnc.compiler.backends.cpu.specialize.packed_sequence import dense_sequence
from rnnc.compiler.backends.cpu.toolchain.build_library import build_library
from rnnc.compiler.backends.cpu.toolchain.c_compiler import CpuIsa, host_isa
from rnnc.compiler.calls.flattening import TensorKey
from rnnc.compiler.lowering.lower import lower
from rnnc.compiler.plan_cache import PlanCache
from rnnc.compiler.request import PlanRequest, all_cotangents, training_request
from rnnc.compiler.schedule.plan import Phase, Plan
from rnnc.grammar.diagnostics.errors import RnnError
from rnnc.operators.graph.operator_graph import OperatorGraph
from rnnc.operators.semantics.call import Call, CallResult

ProgramKey = tuple[PlanRequest, bool, CpuIsa]


class CpuBackend:
    """Runs plans as C that is compiled on this machine, in float32 and float64."""

    name = "cpu"
    supports_autocast = False

    def __init__(self, graph: OperatorGraph, options: Options) -> None:
        """Make it; nothing is compiled yet.

        Raises:
            Unsupported: when the graph holds an operation that only the reference knows.
        """
        lower(graph, training=True)
        self.graph, self.options = graph, options
        self.isa: CpuIsa = host_isa()
        self._programs: dict[ProgramKey, CompiledProgram] = {}
        self._programs_by_call: dict[
            tuple[bool, tuple[TensorKey, ...], torch.dtype], CompiledProgram
        ] = {}
        self._lock = threading.Lock()

    def __deepcopy__(self, memo: dict[int, Any]) -> CpuBackend:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return CpuBackend, (self.graph, self.options)

    def unsupported_reason(self, like: Tensor) -> str:
        """It needs a C compiler that works, and real numbers of 32 or 64 bits on the CPU."""
        if like.device.type != "cpu":
            return f"it runs on the CPU, not on {like.device}"
        if like.dtype not in {torch.float32, torch.float64}:
            return f"it has float32 and float64, not {like.dtype}"
        return compiler_failure()

    def precompile(self, call: Call, wrt: tuple[TensorKey, ...]) -> None:
        """Compile and load the program of a call.

        Raises:
            RnnError: RNN503, when the machine can no longer compile.
        """
        self._program_of_call(call, wrt)

    def forward(self, call: Call, wrt: tuple[TensorKey, ...]) -> tuple[CallResult, Residuals]:
        """The forward units.

        Raises:
            RnnError: RNN503, when the machine can no longer compile.
        """
        return run_forward(self._program_of_call(call, wrt), call, wrt)

    def residual_count(self, call: Call, wrt: tuple[TensorKey, ...]) -> int:
        """What the backward units read."""
        return 1 + len(self._program_of_call(call, wrt).aten_residuals) if wrt else 0

    def backward(
        self,
        call: Call,
        wrt: tuple[TensorKey, ...],
        residuals: Residuals,
        cotangents: Mapping[TensorKey, Tensor | None],
    ) -> Sequence[Tensor | None]:
        """The backward units."""
        program = (
            self._program_of_call(call, wrt) if residuals.context is None else residuals.context[0]
        )
        return run_backward(program, call, wrt, residuals, cotangents)

    def make_replay(self, call: Call) -> CpuReplay | None:
        """What runs small calls without gradients, lengths and resets that are like this one."""
        program = self._program_of_call(call, ())
        rows = dense_sequence(call.steps, call.batch_size)
        geometry = program.specialization(rows, torch.get_num_threads(), adjoint=False)
        if not rows.row_count or sum(geometry.block_sizes) > MAX_REPLAY_ELEMENTS:
            return None
        tape = build_launch_plan(geometry, call)
        return None if tape is None else CpuReplay(program, tape)

    def _program_of_call(self, call: Call, wrt: tuple[TensorKey, ...]) -> CompiledProgram:
        key = (call.training, wrt, call_dtype(call))
        found = self._programs_by_call.get(key)
        if found is None:
            request = self.make_request(training=call.training, gradients=wrt)
            found = self._programs_by_call[key] = self.load_program(
                request, double=key[2] == torch.float64
            )
        return found

    def load_program(self, request: PlanRequest, *, double: bool) -> CompiledProgram:
        """The loaded program for a request, made when it is first asked for."""
        key = (request, double, self.isa)
        with self._lock:
            program = self._programs.get(key)
            if program is None:
                program = compile_program(self.graph, request, double=double, isa=self.isa)
                program.load()
                self._programs[key] = program
        return program

    def make_request(
        self, *, training: bool, gradients: tuple[tuple[str, str], ...]
    ) -> PlanRequest:
        """The request of a call that wants these gradients, one for calls that differ little."""
        gradients = widen_gradients(self.graph, gradients)
        return PlanRequest(
            training=training and depends_on_mode(self.graph),
            gradients=gradients,
            cotangents=all_cotangents(self.graph) if gradients else frozenset(),
            memory=self.options.memory,
            sink_elementwise=True,
            without=self.options.without | DISABLED_PASSES,
        )

    def plan(self) -> Plan | None:
        """The plan of a training step."""
        request = training_request(self.graph)
        planner = PlanCache(self.graph, memory=self.options.memory, without=self.options.without)
        return planner(request)

    def explain(self, phase: Phase) -> str:
        """How a phase is computed."""
        match phase.kind:
            case "once":
                return "ATen, once a call"
            case "batched":
                return (
                    "generated C, blocks of rows; sums over steps as packed products; "
                    "large products by torch where that is faster"
                )
            case "scan":
                return "generated C, one pass over the steps in registers"
            case _:
                return "generated C, one parallel region around all steps"


@cache
def compiler_failure() -> str:
    """Why this machine cannot compile kernels; empty where it can. Tried once a process."""
    try:
        text = "int rnnc_answer(void) { return 42; }\n"
        build_library(text, "plain", required_functions=["rnnc_answer"], timeout=20)
    except RnnError as error:
        return "; ".join(diagnostic.message for diagnostic in error.diagnostics)
    return ""
