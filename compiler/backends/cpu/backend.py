"""The plan as generated C: the fastest backend on a CPU with a C compiler."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor

from rnnc.compiler.backends.backend import Options, Saved
from rnnc.compiler.backends.cpu.execution.forward_backward import (
    dtype_of,
    run_backward,
    run_forward,
)
from rnnc.compiler.backends.cpu.execution.launch_plan import tape_of
from rnnc.compiler.backends.cpu.execution.replay import SMALL, Again
from rnnc.compiler.backends.cpu.specialize.compiled_program import WITHOUT, Program, compile_program
from rnnc.compiler.backends.cpu.specialize.gradient_signature import rounded_up, tells_modes_apart
from rnnc.compiler.backends.cpu.specialize.packed_sequence import dense_rows
from rnnc.compiler.backends.cpu.toolchain.build_library import build
from rnnc.compiler.backends.cpu.toolchain.c_compiler import Level, machine_level
from rnnc.compiler.calls.flattening import Key
from rnnc.compiler.lowering.lower import lower
from rnnc.compiler.plan_cache import Planner
from rnnc.compiler.request import Request, all_seeds, training_request
from rnnc.compiler.schedule.plan import Phase, Plan
from rnnc.grammar.diagnostics.errors import RnnError
from rnnc.operators.graph.operator_graph import OperatorGraph
from rnnc.operators.semantics.call import Call, Result

Wanted = tuple[Request, bool, Level]


class Cpu:
    """Runs plans as C that is compiled on this machine, in float32 and float64."""

    name = "cpu"
    obeys_autocast = False

    def __init__(self, graph: OperatorGraph, options: Options) -> None:
        """Make it; nothing is compiled yet.

        Raises:
            Unsupported: when the graph holds an operation that only the reference knows.
        """
        lower(graph, training=True)
        self.graph, self.options = graph, options
        self.level: Level = machine_level()
        self._programs: dict[Wanted, Program] = {}
        self._asked: dict[tuple[bool, tuple[Key, ...], torch.dtype], Program] = {}
        self._lock = threading.Lock()

    def __deepcopy__(self, memo: dict[int, Any]) -> Cpu:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return Cpu, (self.graph, self.options)

    def refuses(self, like: Tensor) -> str:
        """It needs a C compiler that works, and real numbers of 32 or 64 bits on the CPU."""
        if like.device.type != "cpu":
            return f"it runs on the CPU, not on {like.device}"
        if like.dtype not in {torch.float32, torch.float64}:
            return f"it has float32 and float64, not {like.dtype}"
        return why_not()

    def prepare(self, call: Call, wanted: tuple[Key, ...]) -> None:
        """Compile and load the program of a call.

        Raises:
            RnnError: RNN503, when the machine can no longer compile.
        """
        self._program(call, wanted)

    def forward(self, call: Call, wanted: tuple[Key, ...]) -> tuple[Result, Saved]:
        """The forward units.

        Raises:
            RnnError: RNN503, when the machine can no longer compile.
        """
        return run_forward(self._program(call, wanted), call, wanted)

    def saves(self, call: Call, wanted: tuple[Key, ...]) -> int:
        """What the backward units read."""
        return 1 + len(self._program(call, wanted).saved_outside) if wanted else 0

    def backward(
        self,
        call: Call,
        wanted: tuple[Key, ...],
        saved: Saved,
        gradients: Mapping[Key, Tensor | None],
    ) -> Sequence[Tensor | None]:
        """The backward units."""
        program = self._program(call, wanted) if saved.more is None else saved.more[0]
        return run_backward(program, call, wanted, saved, gradients)

    def again(self, call: Call) -> Again | None:
        """What runs small calls without gradients, lengths and resets that are like this one."""
        program = self._program(call, ())
        rows = dense_rows(call.steps, call.rows)
        geometry = program.geometry(rows, torch.get_num_threads(), adjoint=False)
        if not rows.total or sum(geometry.sizes) > SMALL:
            return None
        tape = tape_of(geometry, call)
        return None if tape is None else Again(program, tape)

    def _program(self, call: Call, wanted: tuple[Key, ...]) -> Program:
        key = (call.training, wanted, dtype_of(call))
        found = self._asked.get(key)
        if found is None:
            request = self.request(training=call.training, gradients=wanted)
            found = self._asked[key] = self.program(request, double=key[2] == torch.float64)
        return found

    def program(self, request: Request, *, double: bool) -> Program:
        """The loaded program for a request, made when it is first asked for."""
        key = (request, double, self.level)
        with self._lock:
            program = self._programs.get(key)
            if program is None:
                program = compile_program(self.graph, request, double=double, level=self.level)
                program.load()
                self._programs[key] = program
        return program

    def request(self, *, training: bool, gradients: tuple[tuple[str, str], ...]) -> Request:
        """The request of a call that wants these gradients, one for calls that differ little."""
        gradients = rounded_up(self.graph, gradients)
        return Request(
            training=training and tells_modes_apart(self.graph),
            gradients=gradients,
            seeds=all_seeds(self.graph) if gradients else frozenset(),
            memory=self.options.memory,
            sink=True,
            without=self.options.without | WITHOUT,
        )

    def plan(self) -> Plan | None:
        """The plan of a training step."""
        request = training_request(self.graph)
        planner = Planner(self.graph, memory=self.options.memory, without=self.options.without)
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
def why_not() -> str:
    """Why this machine cannot compile kernels; empty where it can. Tried once a process."""
    try:
        text = "int rnnc_answer(void) { return 42; }\n"
        build(text, "plain", needs=["rnnc_answer"], timeout=20)
    except RnnError as error:
        return "; ".join(diagnostic.message for diagnostic in error.diagnostics)
    return ""
