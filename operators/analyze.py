"""Text -> diagnostics and operator graph: the front door of the language."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from rnnc.grammar import syntax
from rnnc.grammar.diagnostics.diagnostic import Diagnostic
from rnnc.grammar.diagnostics.errors import RnnError
from rnnc.grammar.diagnostics.report import Report
from rnnc.grammar.diagnostics.suggestions import did_you_mean
from rnnc.grammar.parser import parse
from rnnc.grammar.source import Source, Span
from rnnc.grammar.substitution import StaticValue
from rnnc.operators.elaborate.context.environment import file_environment
from rnnc.operators.elaborate.model import build_model
from rnnc.operators.elaborate.model_parameters import bind_parameters
from rnnc.operators.elaborate.unused_operators import check_unused_operators
from rnnc.operators.graph.operator_graph import OperatorGraph
from rnnc.operators.sources.model_source import ModelSource
from rnnc.operators.sources.modules import ModuleLoader
from rnnc.operators.sources.zoo import zoo_source

_NO_PARAMETERS: Final[Mapping[str, StaticValue]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Analysis:
    """What became of a model: its graph (None after an error), and all diagnostics.

    `model_source` holds what is needed to build it again.
    """

    graph: OperatorGraph | None
    diagnostics: tuple[Diagnostic, ...]
    model_source: ModelSource | None = None

    def require_graph(self) -> OperatorGraph:
        """The graph.

        Raises:
            RnnError: with every diagnostic, when there is none.
        """
        if self.graph is None:
            raise RnnError(self.diagnostics)
        return self.graph


@contextmanager
def _relax_interpreter_limits() -> Iterator[None]:
    # Nesting is limited where it is read (100 brackets, 64 operators), to more frames than
    # Python allows by default. And a tree that only grows is not worth collecting: the collector
    # would walk all of it again and again, at a cost that grows faster than the spec.
    before, collecting = sys.getrecursionlimit(), gc.isenabled()
    sys.setrecursionlimit(max(before, 20_000))
    gc.disable()
    try:
        yield
    finally:
        sys.setrecursionlimit(before)
        if collecting:
            gc.enable()


def analyze(
    source: Source,
    *,
    model: str | None = None,
    parameters: Mapping[str, StaticValue] = _NO_PARAMETERS,
    modules: Mapping[str, str] = MappingProxyType({}),
    assume_missing: bool = True,
) -> Analysis:
    """Build one model of a spec.

    `model` picks one of several; `parameters` binds its parameters; `modules` holds the texts of
    used files by name (they win over files); `assume_missing` lets a parameter without a value be some
    size. Never raises for a bad spec: the diagnostics say what is wrong.
    """
    report = Report()
    found = ModuleLoader(report, modules)
    with _relax_interpreter_limits():
        file = parse(source, report)
        chosen = _select_model(file, model, report)
        graph = None
        if chosen is not None:
            graph = _build_graph(
                file, chosen, parameters, found, report, assume_missing=assume_missing
            )
    program = None
    if graph is not None and chosen is not None:
        bound = {k: v for k, v in parameters.items() if not isinstance(v, str)}
        program = ModelSource(source.text, source.name, found.texts, chosen.name, bound)
    return Analysis(graph, tuple(report), program)


def check(
    source: Source,
    *,
    model: str | None = None,
    parameters: Mapping[str, StaticValue] = _NO_PARAMETERS,
) -> tuple[Diagnostic, ...]:
    """All diagnostics of a spec, of all its models (or of one)."""
    return check_models(source, model=model, parameters=parameters)[1]


def check_models(
    source: Source,
    *,
    model: str | None = None,
    parameters: Mapping[str, StaticValue] = _NO_PARAMETERS,
) -> tuple[tuple[OperatorGraph, ...], tuple[Diagnostic, ...]]:
    """The graphs of every model of a spec (or of one), and all diagnostics."""
    report = Report()
    graphs: list[OperatorGraph] = []
    with _relax_interpreter_limits():
        file = parse(source, report)
        modules = ModuleLoader(report)
        if model is not None:
            chosen = _select_model(file, model, report)
            models = [chosen] if chosen is not None else []
        else:
            models = list(file.models)
            if not models:
                _check_definitions(file, modules, report)
        for item in models:
            graph = _build_graph(file, item, parameters, modules, report, assume_missing=True)
            if graph is not None:
                graphs.append(graph)
    return tuple(graphs), tuple(report)


def _build_graph(
    file: syntax.File,
    model: syntax.Model,
    parameters: Mapping[str, StaticValue],
    modules: ModuleLoader,
    report: Report,
    *,
    assume_missing: bool,
) -> OperatorGraph | None:
    own = Report()
    around = file_environment(file, modules, own)
    unread = report.has_errors
    values = bind_parameters(model, parameters, own, assume_missing=assume_missing)
    graph = build_model(model, around, values, own)
    for diagnostic in own:
        # What a broken line would have said is unknown, so nothing looks suspicious without it.
        if not (unread and diagnostic.severity == "warning"):
            report.add(diagnostic)
    return None if report.has_errors else graph


def _check_definitions(file: syntax.File, modules: ModuleLoader, report: Report) -> None:
    """A file without a model: a library is fine to check, an empty file is not."""
    environment = file_environment(file, modules, report)
    check_unused_operators(environment, {}, set(), report)
    if not file.operators and not report.has_errors:
        _report_no_model(file, report)


def _report_no_model(file: syntax.File, report: Report) -> None:
    report.error(
        "RNN114",
        "there is nothing to compile: no model in this file",
        Span(file.span.source, 0, 0),
        hint="a model is an input, a state and what happens to them; the smallest one:\n"
        "input x: binary[88]\nstate h: real[200]\nh' = x ⊕ h\nx' = ▷ h'",
    )


def _select_model(file: syntax.File, name: str | None, report: Report) -> syntax.Model | None:
    if not file.models:
        if not report.has_errors:
            _report_no_model(file, report)
        return None
    if name is None:
        if len(file.models) > 1:
            report.error(
                "RNN212",
                f"the file has {len(file.models)} models",
                file.models[1].span,
                hint="pick one: `--model "
                + "` or `--model ".join(m.name for m in file.models)
                + "`",
            )
            return None
        return file.models[0]
    for model in file.models:
        if model.name == name:
            return model
    known = [model.name for model in file.models]
    report.error(
        "RNN212",
        f"there is no model `{name}` in this file",
        Span(file.span.source, 0, 0),
        hint=did_you_mean(name, known) or f"there are: {', '.join(known)}",
    )
    return None


def zoo_parameters(name: str) -> dict[str, int | float]:
    """The parameters of a zoo model with their defaults, in the order of its header.

    Raises:
        RnnError: RNN606, when there is no model of that name.
    """
    report = Report()
    (model,) = parse(zoo_source(name), report).models
    values = bind_parameters(model, {}, report)
    return {key: value for key, value in values.items() if not isinstance(value, str)}
