"""A model's parameters without default, bound by the data that it is trained on."""

from __future__ import annotations

from collections.abc import Mapping

from rnnc.grammar.diagnostics.errors import RnnError
from rnnc.grammar.source import Source
from rnnc.operators.analyze import analyse
from rnnc.operators.sources.model_source import Program


def bound_program(
    source: Source,
    model: str | None,
    given: Mapping[str, int | float],
    offered: Mapping[str, int],
) -> Program:
    """The program of a spec, with the parameters given and, for those missing, the data's.

    Args:
        source: the spec.
        model: which model, where the spec has several.
        given: values that the user binds.
        offered: values that the data have; those that the model leaves open are taken.

    Raises:
        RnnError: when the spec is at fault, or a parameter is still without a value.
    """
    first = analyse(source, model=model, parameters=given, assume=True)
    left_open = {d.span.text for d in first.diagnostics if d.code == "RNN211" and d.span}
    taken = {name: value for name, value in offered.items() if name in left_open}
    analysis = (
        analyse(source, model=model, parameters={**given, **taken}, assume=False)
        if left_open
        else first
    )
    if analysis.graph is None or analysis.program is None:
        raise RnnError(tuple(d for d in analysis.diagnostics if d.severity == "error"))
    return analysis.program
