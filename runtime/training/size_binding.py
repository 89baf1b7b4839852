"""Bind a model's parameters without default to sizes of the training data."""

from __future__ import annotations

from collections.abc import Mapping

from rnnc.grammar.diagnostics.errors import RnnError
from rnnc.grammar.source import Source
from rnnc.operators.analyze import analyze
from rnnc.operators.sources.model_source import ModelSource


def bind_program(
    source: Source,
    model: str | None,
    parameters: Mapping[str, int | float],
    data_sizes: Mapping[str, int],
) -> ModelSource:
    """Build the program of a spec with given parameters, and data sizes for missing ones.

    Args:
        source: the spec.
        model: the model's name, for specs with several.
        parameters: values from the user.
        data_sizes: values from the data, used for parameters without a value.

    Raises:
        RnnError: if the spec has errors, or a parameter has no value.
    """
    first_analysis = analyze(source, model=model, parameters=parameters, assume_missing=True)
    unbound = {d.span.text for d in first_analysis.diagnostics if d.code == "RNN211" and d.span}
    used_sizes = {name: value for name, value in data_sizes.items() if name in unbound}
    analysis = (
        analyze(source, model=model, parameters={**parameters, **used_sizes}, assume_missing=False)
        if unbound
        else first_analysis
    )
    if analysis.graph is None or analysis.model_source is None:
        raise RnnError(tuple(d for d in analysis.diagnostics if d.severity == "error"))
    return analysis.model_source
