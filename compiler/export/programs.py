"""The programs that an exported module needs: one for each kind of call."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from ...operators.graph import OperatorGraph
from ..backends.backend import Options
from ..backends.cpu.backend import Cpu
from ..backends.cpu.program import Program, compile_program
from ..backends.cpu.stages import Unit
from ..backends.cpu.toolchain import Level
from ..backends.cpu.usual import of_all, of_parameters, tells_modes_apart
from ..explain import counted, products_of
from ..flow import Flow

Key = tuple[str, str]

_WHEN: Final = {0: "all steps at once", 1: "step by step", -1: "step by step, the last one first"}


@dataclass(frozen=True)
class Usual:
    """A program for one kind of call, for float64 and float32.

    name: of its function in Python, and in front of its functions in C.
    about: what it is for, in words.
    modes: in training (True), out of it (False).
    gradients: those that it gives.
    """

    name: str
    about: str
    modes: tuple[bool, ...]
    gradients: tuple[Key, ...]
    double: Program
    single: Program

    @property
    def pair(self) -> tuple[Program, Program]:
        """Both programs, float64 first."""
        return self.double, self.single


def usual_programs(graph: OperatorGraph, options: Options, level: Level) -> tuple[Usual, ...]:
    """The programs of a model: without gradients, with those of its parameters, with all.

    Raises:
        Unsupported: when the graph holds an operation that only the reference knows.
    """
    backend = Cpu(graph, options)
    kinds = {
        "plain": ("without gradients", ()),
        "learn": ("with gradients of the parameters", of_parameters(graph)),
        "embed": ("with gradients of parameters, inputs and states", of_all(graph)),
    }
    return tuple(_made(backend, "", kinds, level))


def loss_programs(graph: OperatorGraph, options: Options, level: Level) -> tuple[Usual, ...]:
    """The programs of `loss` terms: without gradients, and with those of all that they read."""
    backend = Cpu(graph, options)
    kinds = {
        "plain": ("without gradients", ()),
        "learn": ("with gradients of all that they read", of_all(graph)),
    }
    return tuple(_made(backend, "loss_", kinds, level))


def _made(
    backend: Cpu,
    prefix: str,
    kinds: Mapping[str, tuple[str, tuple[Key, ...]]],
    level: Level,
) -> Iterator[Usual]:
    graph, seen = backend.graph, set[tuple[Key, ...]]()
    groups = (
        (((True,), "_training"), ((False,), ""))
        if tells_modes_apart(graph)
        else (((True, False), ""),)
    )
    # As C has it; what follows it tells the programs of a file apart.
    plain = re.sub(r"[^A-Za-z0-9]", "_", graph.name)
    for name, (about, gradients) in kinds.items():
        if gradients in seen:
            continue
        seen.add(gradients)
        for modes, suffix in groups:
            request = backend.request(training=modes[0], gradients=gradients)
            full = prefix + name + suffix
            double, single = (
                compile_program(graph, request, double=double, level=level, name=f"{plain}_{full}")
                for double in (True, False)
            )
            yield Usual(full, about, modes, request.gradients, double, single)


def unit_in_words(flow: Flow, unit: Unit) -> str:
    """What a unit does, for a comment."""
    side = "Backward" if unit.adjoint else "Forward"
    when = "once a call, or summed over steps, by torch" if unit.outside else _WHEN[unit.direction]
    products = "; ".join(products_of(flow, unit.values))
    others = counted(
        [
            flow.values[n].operation
            for n in unit.values
            if not products_of(flow, [n]) and flow.values[n].operation not in {"state", "seed"}
        ]
    )
    what = "; ".join(part for part in (products, others) if part)
    return f"{side}, {when}: {what}" if what else f"{side}, {when}"
