"""Evaluate size expressions to numbers within limits."""

from __future__ import annotations

from rnnc.grammar import syntax
from rnnc.grammar.constant_eval import ConstantLookup, NotConstantError, evaluate_constant
from rnnc.grammar.diagnostics.report import Report
from rnnc.grammar.diagnostics.suggestions import did_you_mean
from rnnc.operators.graph.types import SIZE_LIMIT


def evaluate_size(
    expression: syntax.Expression,
    report: Report,
    lookup: ConstantLookup,
    poisoned: frozenset[str] = frozenset(),
    candidates: frozenset[str] = frozenset(),
) -> int | None:
    """Return the number of a size expression; None after a mistake, which is reported.

    Reports expressions that are not constant (RNN213) and sizes outside the limits (RNN308).
    """
    try:
        value = evaluate_constant(expression, lookup)
    except NotConstantError as error:
        if error.name not in poisoned:
            hint = did_you_mean(error.name, candidates) or (
                "sizes are made of numbers and parameters: `model name(hidden = 400):`"
            )
            report.error("RNN213", error.reason, error.span, hint=hint)
        return None
    if value != int(value):
        report.error(
            "RNN308",
            f"{value:g} is not a size",
            expression.span,
            "not an integer",
            hint="sizes are integers; `//` divides without a rest",
        )
        return None
    if not 1 <= value <= SIZE_LIMIT:
        report.error(
            "RNN308",
            f"{int(value):,} is not a sensible size",
            expression.span,
            hint=f"sizes go from 1 to {SIZE_LIMIT:,}",
        )
        return None
    return int(value)
