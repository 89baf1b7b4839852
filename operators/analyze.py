"""Analyze a spec: parse it, elaborate its models, return diagnostics and operator graphs."""

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
    """Result of analyzing a model: its graph (None after an error) and all diagnostics.

    `model_source` holds all that is needed to build the model again.
    """

    graph: OperatorGraph | None
    diagnostics: tuple[Diagnostic, ...]
    model_source: ModelSource | None = None

    def require_graph(self) -> OperatorGraph:
        """Return the graph.

        Raises:
            RnnError: with all diagnostics, if there is no graph.
        """
        if self.graph is None:
            raise RnnError(self.diagnostics)
        return self.graph


@contextmanager
def _relax_interpreter_limits() -> Iterator[None]:
    # The limits on nesting (100 brackets, 64 operators) allow more frames than Python's default of
    # 1,000. The collector is off, since the tree only grows: it would traverse all of it again and
    # again, in time that grows faster than the spec.
    recursion_limit, was_enabled = sys.getrecursionlimit(), gc.isenabled()
    sys.setrecursionlimit(max(recursion_limit, 20_000))
    gc.disable()
    try:
        yield
    finally:
        sys.setrecursionlimit(recursion_limit)
        if was_enabled:
            gc.enable()


def analyze(
    source: Source,
    *,
    model: str | None = None,
    parameters: Mapping[str, StaticValue] = _NO_PARAMETERS,
    modules: Mapping[str, str] = MappingProxyType({}),
    assume_missing: bool = True,
) -> Analysis:
    """Build the graph of one model of a spec; a mistake in the spec never raises.

    model: name of one of several models. parameters: values of its parameters. modules: texts of
    used files by name, which win over files. assume_missing: give parameters without a value some
    size.
    """
    report = Report()
    loader = ModuleLoader(report, modules)
    with _relax_interpreter_limits():
        file = parse(source, report)
        selected = _select_model(file, model, report)
        graph = None
        if selected is not None:
            graph = _build_graph(
                file, selected, parameters, loader, report, assume_missing=assume_missing
            )
    model_source = None
    if graph is not None and selected is not None:
        numbers = {k: v for k, v in parameters.items() if not isinstance(v, str)}
        model_source = ModelSource(source.text, source.name, loader.texts, selected.name, numbers)
    return Analysis(graph, tuple(report), model_source)


def check(
    source: Source,
    *,
    model: str | None = None,
    parameters: Mapping[str, StaticValue] = _NO_PARAMETERS,
) -> tuple[Diagnostic, ...]:
    """Return all diagnostics of a spec, of all its models or of one."""
    return check_models(source, model=model, parameters=parameters)[1]


def check_models(
    source: Source,
    *,
    model: str | None = None,
    parameters: Mapping[str, StaticValue] = _NO_PARAMETERS,
) -> tuple[tuple[OperatorGraph, ...], tuple[Diagnostic, ...]]:
    """Return the graphs of all models of a spec, or of one, and all diagnostics."""
    report = Report()
    graphs: list[OperatorGraph] = []
    with _relax_interpreter_limits():
        file = parse(source, report)
        loader = ModuleLoader(report)
        if model is not None:
            selected = _select_model(file, model, report)
            models = [selected] if selected is not None else []
        else:
            models = list(file.models)
            if not models:
                _check_definitions(file, loader, report)
        for selected_model in models:
            graph = _build_graph(
                file, selected_model, parameters, loader, report, assume_missing=True
            )
            if graph is not None:
                graphs.append(graph)
    return tuple(graphs), tuple(report)


def _build_graph(
    file: syntax.File,
    model: syntax.Model,
    parameters: Mapping[str, StaticValue],
    loader: ModuleLoader,
    report: Report,
    *,
    assume_missing: bool,
) -> OperatorGraph | None:
    model_report = Report()
    file_operators = file_environment(file, loader, model_report)
    has_syntax_errors = report.has_errors
    values = bind_parameters(model, parameters, model_report, assume_missing=assume_missing)
    graph = build_model(model, file_operators, values, model_report)
    for diagnostic in model_report:
        # An unreadable line may hold what a warning misses.
        if not (has_syntax_errors and diagnostic.severity == "warning"):
            report.add(diagnostic)
    return None if report.has_errors else graph


def _check_definitions(file: syntax.File, loader: ModuleLoader, report: Report) -> None:
    """Check a file without models: a library may have none, an empty file is an error."""
    environment = file_environment(file, loader, report)
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
    names = [model.name for model in file.models]
    report.error(
        "RNN212",
        f"there is no model `{name}` in this file",
        Span(file.span.source, 0, 0),
        hint=did_you_mean(name, names) or f"there are: {', '.join(names)}",
    )
    return None


def zoo_parameters(name: str) -> dict[str, int | float]:
    """Return the parameters of a zoo model with their defaults, in the order of its header.

    Raises:
        RnnError: RNN606, if there is no model of that name.
    """
    report = Report()
    (model,) = parse(zoo_source(name), report).models
    values = bind_parameters(model, {}, report)
    return {key: value for key, value in values.items() if not isinstance(value, str)}
