"""Constant expressions: sizes, times, counts."""

from __future__ import annotations

from collections.abc import Mapping

from rnnc.grammar import syntax
from rnnc.grammar.constant_eval import evaluate_constant
from support.second_oracle.values import Number, Unsupported


def number(expression: syntax.Expression, known: Mapping[str, Number | str]) -> Number:
    """The value of a constant expression, some names being known."""

    def lookup(name: syntax.Name) -> Number | None:
        found = known.get(name.name)
        return None if isinstance(found, str) else found

    return evaluate_constant(expression, lookup)


def offset(time: syntax.Expression) -> int:
    """The k of a time `t + k`."""
    zero, one = (number(time, {"t": at}) for at in (0, 1))
    if one - zero != 1 or zero != int(zero):
        raise Unsupported(f"the time `{time.span.text}`")
    return int(zero)


def size_of(type_: syntax.Type, sizes: Mapping[str, int] | None = None) -> int:
    """How wide a type is."""
    if len(type_.sizes) > 1:
        raise Unsupported(f"the type `{type_.span.text}`")
    return int(number(type_.sizes[0], sizes or {})) if type_.sizes else 1
