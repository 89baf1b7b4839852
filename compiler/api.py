"""`rnnc.compile`: from a file, a zoo name or text to a module."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Any

from ..grammar.diagnostics import RnnError
from ..grammar.render import render_text
from ..grammar.source import Source
from ..operators.analyse import Analysis, analyse
from ..operators.program import Program
from ..operators.reading import read_spec
from ..operators.shipped import zoo_source
from .module import CompiledRNN


def compile(
    spec: str | os.PathLike[str],
    *,
    model: str | None = None,
    backend: str = "auto",
    batch_first: bool = False,
    parameters: Mapping[str, int | float] | None = None,
    **sizes: int | float,
) -> CompiledRNN:
    """Compile a spec into a module.

    Args:
        spec: a path, `zoo:NAME`, or (when it has several lines) the text itself.
        model: which model, where the file has several.
        backend: `auto`, `reference`, or another backend of this machine.
        batch_first: whether inputs and outputs are (B, T, …) instead of (T, B, …).
        parameters: values of the model's parameters.
        **sizes: the same, as keywords.

    Raises:
        RnnError: when the spec is at fault; its text says where and what to do.
        ValueError: when another argument is.
    """
    bound = _numbers({**(parameters or {}), **sizes})
    source = _source(spec)
    analysis = analyse(source, model=model, parameters=bound, assume=False)
    return _module(analysis, backend=backend, batch_first=batch_first)


def compile_program(
    program: Program, *, backend: str = "auto", batch_first: bool = False
) -> CompiledRNN:
    """Compile what a compiled model's `program` holds; reads no file but the shipped library."""
    analysis = analyse(
        Source(program.text, program.name),
        model=program.model,
        parameters=program.parameters,
        modules=program.modules,
        assume=False,
    )
    return _module(analysis, backend=backend, batch_first=batch_first)


def _module(analysis: Analysis, *, backend: str, batch_first: bool) -> CompiledRNN:
    graph = analysis.graph
    if graph is None or analysis.program is None:
        errors = tuple(d for d in analysis.diagnostics if d.severity == "error")
        raise RnnError(errors)
    for diagnostic in analysis.diagnostics:
        print(render_text(diagnostic), file=sys.stderr)
    return CompiledRNN(graph, analysis.program, backend=backend, batch_first=batch_first)


def _numbers(values: Mapping[str, Any]) -> dict[str, int | float]:
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(f"{name}: expected a number, got {value!r}")
        if value != value or value in (float("inf"), float("-inf")):
            raise ValueError(f"{name}: expected a finite number, got {value}")
    return dict(values)


def _source(spec: str | os.PathLike[str]) -> Source:
    if isinstance(spec, str):
        if "\n" in spec:
            return Source(spec)
        if spec.startswith("zoo:"):
            return zoo_source(spec.removeprefix("zoo:"))
    return read_spec(os.fspath(spec))
