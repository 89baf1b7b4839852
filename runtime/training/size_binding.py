"""A model's parameters without default, bound by the data that it is trained on."""

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
    """The program of a spec, with the parameters given and, for those missing, the data's.

    Args:
        source: the spec.
        model: which model, where the spec has several.
        parameters: values that the user binds.
        data_sizes: values that the data have; those that the model leaves open are taken.

    Raises:
        RnnError: when the spec is at fault, or a parameter is still without a value.
    """
    first = analyze(source, model=model, parameters=parameters, assume_missing=True)
    left_open = {d.span.text for d in first.diagnostics if d.code == "RNN211" and d.span}
    taken = {name: value for name, value in data_sizes.items() if name in left_open}
    analysis = (
        analyze(source, model=model, parameters={**parameters, **taken}, assume_missing=False)
        if left_open
        else first
    )
    if analysis.graph is None or analysis.model_source is None:
        raise RnnError(tuple(d for d in analysis.diagnostics if d.severity == "error"))
    return analysis.model_source
