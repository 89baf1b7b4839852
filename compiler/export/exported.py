"""How an exported module runs: the backend `cpu` on programs that are written down."""

from __future__ import annotations

import hashlib
import sys
import textwrap
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from ...operators.call import Call, Result
from ...operators.graph import OperatorGraph
from ..backends.cpu.backend import Cpu
from ..backends.cpu.program import Program
from ..backends.cpu.stages import Unit
from ..backends.differentiable import run as differentiable
from ..backends.registry import Backends


@dataclass(frozen=True)
class Names:
    """The C functions of a program's units, and how many vectors of columns a tile has."""

    of: dict[int, str]
    vectors: int

    def function(self, unit: Unit) -> str:
        """The name of a unit's function."""
        return self.of[unit.number]


@dataclass(frozen=True)
class Kernels:
    """The C file beside a module."""

    path: Path
    digest: str

    def text(self) -> str:
        """The file.

        Raises:
            RuntimeError: when it is not there, or is not the one that was exported.
        """
        try:
            found = self.path.read_bytes()
        except OSError as error:
            raise RuntimeError(f"{self.path}: {error.strerror or error}") from error
        if hashlib.sha256(found).hexdigest() != self.digest:
            raise RuntimeError(f"{self.path} is not the file that was exported with this module")
        return found.decode()


@dataclass(frozen=True)
class Written(Program):
    """A program whose C lies in a file."""

    kernels: Kernels | None = None

    def source(self) -> str:
        """The C file, for one dtype."""
        assert self.kernels is not None
        return f"#define IS_DOUBLE {int(self.double)}\n" + self.kernels.text()


@dataclass(frozen=True)
class Choice:
    """A program, and the calls that it is for.

    modes: in training (True), out of it (False).
    make: the program for float64 (True) or float32.
    """

    modes: tuple[bool, ...]
    make: Callable[[bool], Program]

    @cached_property
    def gradients(self) -> frozenset[tuple[str, str]]:
        """The gradients that it gives."""
        return frozenset((g.kind, g.name) for g in self.make(False).layout.flow.gradients)


class Exported(Cpu):
    """The backend on programs that are chosen by number."""

    def __init__(self, *choices: Choice) -> None:
        self.choices = choices
        self._numbered: dict[tuple[int, bool], Program] = {}
        self._asked = {}
        self._lock = threading.Lock()

    def request(  # type: ignore[override]
        self, *, training: bool, gradients: tuple[tuple[str, str], ...]
    ) -> int:
        """The number of the program that gives these gradients and no others, or few others.

        Raises:
            RuntimeError: when there is none: a frozen parameter is to be trained.
        """
        wanted = frozenset(gradients)
        able = [
            (len(choice.gradients - wanted), number)
            for number, choice in enumerate(self.choices)
            if training in choice.modes and wanted <= choice.gradients
        ]
        if not able:
            known = {key for choice in self.choices for key in choice.gradients}
            names = ", ".join(name for _, name in sorted(wanted - known))
            raise RuntimeError(f"there is no gradient of {names} here: the spec has it frozen")
        return min(able)[1]

    def program(self, number: int, *, double: bool) -> Program:  # type: ignore[override]
        """The loaded program of a number."""
        with self._lock:
            program = self._numbered.get((number, double))
            if program is None:
                program = self.choices[number].make(double)
                program.load()
                self._numbered[number, double] = program
        return program


class OneBackend(Backends):
    """The one backend of a graph, where rnnc has several to choose from."""

    registered: ClassVar[dict[str, Exported]] = {}
    """By the graph's name; filled when the module is loaded."""

    def __init__(self, graph: OperatorGraph, *_: Any) -> None:
        self.graph, self.name = graph, "cpu"

    def at_first(self, like: Tensor) -> Exported:
        """The backend of a module that was just made; raises as `choose`."""
        return self.choose(like)

    def choose(self, like: Tensor) -> Exported:
        """The backend.

        Raises:
            RuntimeError: when it has no numbers of that kind.
        """
        if like.device.type != "cpu":
            raise RuntimeError(f"this module runs on the CPU, not on {like.device}")
        if like.dtype not in {torch.float32, torch.float64}:
            raise RuntimeError(f"this module has float32 and float64, not {like.dtype}")
        return self.registered[self.graph.name]


def run_call(backends: Backends, call: Call, like: Tensor, key: str) -> Result:
    """Run one call, differentiably; `torch.compile` does not look into it."""
    if "torch._dynamo" in sys.modules:
        return _untraced()(backends, call, like)
    return differentiable(backends.choose(like), call)


@cache
def _untraced() -> Callable[[Backends, Call, Tensor], Result]:
    return torch.compiler.disable(_run)  # type: ignore[no-any-return, no-untyped-call]


def _run(backends: Backends, call: Call, like: Tensor) -> Result:
    return differentiable(backends.choose(like), call)


def spec_of(text: str | None) -> str:
    """The spec at the end of a module's docstring."""
    return textwrap.dedent((text or "").partition("The spec:\n\n")[2]).strip("\n")
