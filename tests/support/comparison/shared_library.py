"""Compile many generated models in one C file, so that shared code is compiled once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

import pytest

from rnnc.compiler.backends.cpu.codegen.emitter import prelude
from rnnc.compiler.backends.cpu.specialize.compiled_program import CompiledProgram
from rnnc.compiler.backends.cpu.toolchain.build_library import build_library
from rnnc.grammar.diagnostics.errors import RnnError


class _StopCollecting(Exception):
    pass


def compile_in_one_library(
    cases: Iterable[Callable[[], Any]], patch: pytest.MonkeyPatch
) -> list[Callable[[], Any]]:
    """Return the same cases, with the first program of each compiled in one library.

    A case is run once up to the point where it would compile, and once more when it is called;
    exceptions before that point are raised then.
    """
    programs: dict[str, CompiledProgram] = {}

    def collect(self: CompiledProgram) -> None:
        programs.setdefault(self.model_source, self)
        raise _StopCollecting

    all_cases = list(cases)
    with patch.context() as context:
        context.setattr(CompiledProgram, "load", collect)
        for case in all_cases:
            with suppress(Exception):
                case()
    groups: dict[tuple[str, bool], dict[str, str]] = {}
    for text, program in programs.items():
        group = groups.setdefault((program.isa, program.double), {})
        group[text] = f"m{len(group)}"
    libraries: dict[tuple[str, bool], Any] = {}
    for (level, double), texts in groups.items():
        # If the shared text does not compile, build each case alone, so that only its own fails.
        with suppress(RnnError):
            libraries[level, double] = build_library(
                prelude(level, double=double)  # type: ignore[arg-type]
                + "".join(text.replace("m_model_", f"{name}_") for text, name in texts.items()),
                level,  # type: ignore[arg-type]
            )

    original_load = CompiledProgram.load

    def load(self: CompiledProgram) -> None:
        key = (self.isa, self.double)
        if key in libraries and self.model_source in groups[key]:
            object.__setattr__(self.emitter, "name", groups[key][self.model_source])
            self.libraries.append(libraries[key])
        else:
            original_load(self)

    def with_library(case: Callable[[], Any]) -> Callable[[], Any]:
        def call() -> Any:
            with patch.context() as context:
                context.setattr(CompiledProgram, "load", load)
                return case()

        return call

    return [with_library(case) for case in all_cases]
