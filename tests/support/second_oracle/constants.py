"""Evaluate constant expressions: sizes, times, counts."""

from __future__ import annotations

from collections.abc import Mapping

from rnnc.grammar import syntax
from rnnc.grammar.constant_eval import evaluate_constant
from support.second_oracle.values import Number, Unsupported


def number(expression: syntax.Expression, known: Mapping[str, Number | str]) -> Number:
    """Evaluate a constant expression with some known names."""

    def lookup(name: syntax.Name) -> Number | None:
        value = known.get(name.name)
        return None if isinstance(value, str) else value

    return evaluate_constant(expression, lookup)


def offset(time: syntax.Expression) -> int:
    """Return the k of a time `t + k`."""
    zero, one = (number(time, {"t": t}) for t in (0, 1))
    if one - zero != 1 or zero != int(zero):
        raise Unsupported(f"the time `{time.span.text}`")
    return int(zero)


def size_of(type_: syntax.Type, sizes: Mapping[str, int] | None = None) -> int:
    """Return the width of a type."""
    if len(type_.sizes) > 1:
        raise Unsupported(f"the type `{type_.span.text}`")
    return int(number(type_.sizes[0], sizes or {})) if type_.sizes else 1
