"""`rnnc.compile`: from a file, a zoo name or text to a module."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from typing import Any, get_args

from rnnc.compiler.backends.backend import Options
from rnnc.compiler.module.compiled_rnn import CompiledRNN
from rnnc.grammar.diagnostics.errors import RnnError
from rnnc.grammar.diagnostics.render import render_text
from rnnc.grammar.source import Source
from rnnc.operators.analyze import Analysis, analyze
from rnnc.operators.sources.model_source import ModelSource
from rnnc.operators.sources.spec_file import read_spec
from rnnc.operators.sources.zoo import zoo_source

from .pipeline import PASS_NAMES
from .request import MemoryPolicy


def compile(
    spec: str | os.PathLike[str],
    *,
    model: str | None = None,
    backend: str = "auto",
    require: str | None = None,
    memory: MemoryPolicy = "save",
    without: Iterable[str] = (),
    batch_first: bool = False,
    parameters: Mapping[str, int | float] | None = None,
    **sizes: int | float,
) -> CompiledRNN:
    """Compile a spec into a module.

    Args:
        spec: a path, `zoo:NAME`, or (when it has several lines) the text itself.
        model: which model, where the file has several.
        backend: `auto`, `reference`, or another backend of this machine.
        require: `fused` makes it an error to fall back to the reference.
        memory: `save` what the backward pass reads, or `recompute` what is cheap in it.
        without: names of compiler passes to leave out (`rnnc.compiler.pipeline.PASS_NAMES`).
        batch_first: whether inputs and outputs are (B, T, …) instead of (T, B, …).
        parameters: values of the model's parameters.
        **sizes: the same, as keywords.

    Raises:
        RnnError: when the spec is at fault, or no backend may run it; its text says where and what
            to do.
        ValueError: when another argument is.
    """
    bindings = _check_numbers({**(parameters or {}), **sizes})
    if model is not None and not isinstance(model, str):
        raise ValueError(f"model: expected the name of a model, got {model!r}")
    source = _load_source(spec)
    analysis = analyze(source, model=model, parameters=bindings, assume_missing=False)
    options = _build_options(memory, without)
    return _build_module(
        analysis, backend=backend, batch_first=batch_first, options=options, require=require
    )


def compile_program(
    program: ModelSource,
    *,
    backend: str = "auto",
    require: str | None = None,
    memory: MemoryPolicy = "save",
    without: Iterable[str] = (),
    batch_first: bool = False,
) -> CompiledRNN:
    """Compile the `program` of a compiled model; reads no file but the shipped library."""
    analysis = analyze(
        Source(program.text, program.name),
        model=program.model,
        parameters=program.parameters,
        modules=program.modules,
        assume_missing=False,
    )
    options = _build_options(memory, without)
    return _build_module(
        analysis, backend=backend, batch_first=batch_first, options=options, require=require
    )


def _build_options(memory: MemoryPolicy, without: Iterable[str]) -> Options:
    if memory not in get_args(MemoryPolicy):
        raise ValueError(
            f"memory: expected one of {', '.join(get_args(MemoryPolicy))}, got {memory!r}"
        )
    skipped = frozenset(without)
    unknown = sorted(skipped - set(PASS_NAMES))
    if unknown:
        raise ValueError(
            f"without: expected passes among {', '.join(PASS_NAMES)}, got {unknown[0]!r}"
        )
    return Options(memory, skipped)


def _build_module(
    analysis: Analysis, *, backend: str, batch_first: bool, options: Options, require: str | None
) -> CompiledRNN:
    graph = analysis.graph
    if graph is None or analysis.model_source is None:
        errors = tuple(d for d in analysis.diagnostics if d.severity == "error")
        raise RnnError(errors)
    for diagnostic in analysis.diagnostics:
        print(render_text(diagnostic), file=sys.stderr)
    return CompiledRNN(
        graph,
        analysis.model_source,
        backend=backend,
        batch_first=batch_first,
        options=options,
        require=require,
    )


def _check_numbers(values: Mapping[str, Any]) -> dict[str, int | float]:
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(f"{name}: expected a number, got {value!r}")
        if value != value or value in (float("inf"), float("-inf")):
            raise ValueError(f"{name}: expected a finite number, got {value}")
    return dict(values)


def _load_source(spec: str | os.PathLike[str]) -> Source:
    if isinstance(spec, str):
        if "\n" in spec:
            return Source(spec)
        if spec.startswith("zoo:"):
            return zoo_source(spec.removeprefix("zoo:"))
    if not isinstance(spec, str | os.PathLike):
        raise ValueError(f"spec: expected a path, zoo:NAME or text, got {type(spec).__name__}")
    return read_spec(os.fsdecode(spec))
