"""The backend `cpu`: plans as generated C, compiled and loaded on this machine.

Programs are made once for each gradient signature, mode and dtype; shapes are specialized later.
"""

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
    compile_program,
)
from rnnc.compiler.backends.cpu.specialize.gradient_signature import (
    depends_on_mode,
    widen_gradients,
)
from rnnc.compiler.backends.cpu.specialize.packed_sequence import dense_sequence
from rnnc.compiler.backends.cpu.specialize.specialization_cache import SpecializationCache
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
"""A request, true for float64, and the instruction set."""

_CallKey = tuple[bool, tuple[TensorKey, ...], torch.dtype]
"""The mode of a call, its gradients, and its dtype."""


class CpuBackend:
    """Runs the calls of one graph as generated C, in float32 and float64."""

    name = "cpu"
    supports_autocast = False

    def __init__(self, graph: OperatorGraph, options: Options) -> None:
        """Check that the graph can be lowered; programs are compiled when a call needs them.

        Raises:
            Unsupported: when the graph holds an operation that only the reference knows.
        """
        lower(graph, training=True)
        self.graph, self.options = graph, options
        self.isa: CpuIsa = host_isa()
        self._programs: dict[ProgramKey, SpecializationCache] = {}
        self._programs_by_call: dict[_CallKey, SpecializationCache] = {}
        self._lock = threading.Lock()

    def __deepcopy__(self, memo: dict[int, Any]) -> CpuBackend:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return CpuBackend, (self.graph, self.options)

    def unsupported_reason(self, like: Tensor) -> str:
        """Return why tensors like this one cannot be computed here; empty where they can.

        A C compiler must work, and the dtype be float32 or float64.
        """
        if like.device.type != "cpu":
            return f"it runs on the CPU, not on {like.device}"
        if like.dtype not in {torch.float32, torch.float64}:
            return f"it has float32 and float64, not {like.dtype}"
        return compiler_failure()

    def precompile(self, call: Call, wrt: tuple[TensorKey, ...]) -> None:
        """Compile and load the program that a call needs.

        Raises:
            RnnError: RNN503, when the machine can no longer compile.
        """
        self._program_of_call(call, wrt)

    def forward(self, call: Call, wrt: tuple[TensorKey, ...]) -> tuple[CallResult, Residuals]:
        """Run the forward pass and return results and residuals.

        Raises:
            RnnError: RNN503, when the machine can no longer compile.
        """
        return run_forward(self._program_of_call(call, wrt), call, wrt)

    def residual_count(self, call: Call, wrt: tuple[TensorKey, ...]) -> int:
        """Return the number of residuals: one block, and each value that ATen has computed."""
        return 1 + len(self._program_of_call(call, wrt).program.aten_residuals) if wrt else 0

    def backward(
        self,
        call: Call,
        wrt: tuple[TensorKey, ...],
        residuals: Residuals,
        cotangents: Mapping[TensorKey, Tensor | None],
    ) -> Sequence[Tensor | None]:
        """Run the backward pass and return the gradients of `wrt`."""
        if residuals.context is None:
            specializations = self._program_of_call(call, wrt)
        else:
            specializations = residuals.context[0]
        return run_backward(specializations, call, wrt, residuals, cotangents)

    def make_replay(self, call: Call) -> CpuReplay | None:
        """Record a small call without gradients, lengths and resets; None where that is no gain."""
        specializations = self._program_of_call(call, ())
        sequence = dense_sequence(call.steps, call.batch_size)
        specialization = specializations.specialization(
            sequence, torch.get_num_threads(), adjoint=False
        )
        if not sequence.row_count or sum(specialization.block_sizes) > MAX_REPLAY_ELEMENTS:
            return None
        plan = build_launch_plan(specialization, call)
        return None if plan is None else CpuReplay(specializations.program, plan)

    def _program_of_call(self, call: Call, wrt: tuple[TensorKey, ...]) -> SpecializationCache:
        key = (call.training, wrt, call_dtype(call))
        specializations = self._programs_by_call.get(key)
        if specializations is None:
            request = self.make_request(training=call.training, gradients=wrt)
            specializations = self.load_program(request, double=key[2] == torch.float64)
            self._programs_by_call[key] = specializations
        return specializations

    def load_program(self, request: PlanRequest, *, double: bool) -> SpecializationCache:
        """Return the loaded program for a request; the first call compiles it."""
        key = (request, double, self.isa)
        with self._lock:
            specializations = self._programs.get(key)
            if specializations is None:
                program = compile_program(self.graph, request, double=double, isa=self.isa)
                program.load()
                specializations = self._programs[key] = SpecializationCache(program)
        return specializations

    def make_request(
        self, *, training: bool, gradients: tuple[tuple[str, str], ...]
    ) -> PlanRequest:
        """Return the request of a call, which similar calls share."""
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
        """Return the plan of a training step."""
        plans = PlanCache(self.graph, memory=self.options.memory, without=self.options.without)
        return plans(training_request(self.graph))

    def explain(self, phase: Phase) -> str:
        """Say in a few words how a phase is computed."""
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
    """Return why this machine cannot compile kernels; empty where it can. Tried once a process."""
    try:
        text = "int rnnc_answer(void) { return 42; }\n"
        build_library(text, "plain", required_functions=["rnnc_answer"], timeout=20)
    except RnnError as error:
        return "; ".join(diagnostic.message for diagnostic in error.diagnostics)
    return ""
