"""Evaluate constant expressions: sizes, ranges, subscripts, conditions, real constants.

Input: a syntax tree without variables; output: an int (exact, bounded) or a finite float.
"""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite
from typing import Final

from . import syntax
from .source import Span

Constant = int | float
ConstantLookup = Callable[[syntax.Name], "Constant | None"]

MAX_INTEGER: Final = 10**12
"""Largest absolute value of an integer constant; sizes have a smaller limit of their own."""

MAX_REAL: Final = 1e38
"""Largest absolute value of a real constant: float32 still holds the difference of two of them."""

TOO_LARGE_MESSAGE: Final = f"an integer constant is larger than {MAX_INTEGER:,}"


class NotConstantError(Exception):
    """An expression without a constant value, with span and reason."""

    def __init__(self, span: Span, reason: str, name: str = "") -> None:
        super().__init__(reason)
        self.span, self.reason, self.name = span, reason, name


def empty_lookup(name: syntax.Name) -> Constant | None:
    """Return None for every name."""
    return None


def evaluate_constant(  # noqa: C901
    expression: syntax.Expression, lookup: ConstantLookup = empty_lookup
) -> Constant:
    """Return the value of a constant expression; conditions give 0 or 1.

    Raises:
        NotConstantError: with the span and the reason.
    """
    match expression:
        case syntax.Number(value):
            result = value
        case syntax.Name() as name:
            value_of_name = lookup(name)
            if value_of_name is None:
                raise NotConstantError(
                    name.span, f"`{name.span.text}` has no constant value", name.name
                )
            result = value_of_name
        case syntax.Parentheses((syntax.Argument(value=inner, type=None, keyword=None),)):
            result = evaluate_constant(inner, lookup)
        case syntax.Prefix(symbols, operand) if not any(symbols):
            result = evaluate_constant(operand, lookup) * (-1) ** len(symbols)
        case syntax.Chain(first, operations):
            result = evaluate_constant(first, lookup)
            for sign, operand in operations:
                result = _apply_operator(
                    sign, result, evaluate_constant(operand, lookup), operand.span
                )
        case syntax.Power(base, exponent):
            result = _raise_to_power(
                evaluate_constant(base, lookup),
                evaluate_constant(exponent, lookup),
                expression.span,
            )
        case syntax.Compare(left, comparator, right):
            result = _compare(
                comparator, evaluate_constant(left, lookup), evaluate_constant(right, lookup)
            )
        case syntax.Logic("not", (operand,)):
            result = int(not evaluate_constant(operand, lookup))
        case syntax.Logic(operator, operands):
            values = [bool(evaluate_constant(operand, lookup)) for operand in operands]
            result = int(all(values) if operator == "and" else any(values))
        case syntax.Run(items):
            raise NotConstantError(
                expression.span,
                "a product of constants is written `2 * n`",
                next((i.name for i in items if isinstance(i, syntax.Name)), ""),
            )
        case _:
            raise NotConstantError(expression.span, f"`{expression.span.text}` is not a constant")
    reason = range_error(result)
    if reason:
        raise NotConstantError(expression.span, reason)
    return result


def range_error(value: Constant) -> str:
    """Return the reason for which a number is no constant, or an empty string."""
    if isinstance(value, float) and not isfinite(value):
        return "a constant is not a finite number"
    if isinstance(value, int) and abs(value) > MAX_INTEGER:
        return TOO_LARGE_MESSAGE
    return f"a constant is larger than {MAX_REAL:g}" if abs(value) > MAX_REAL else ""


def _apply_operator(sign: str, left: Constant, right: Constant, span: Span) -> Constant:
    if sign in {"/", "//", "%"} and right == 0:
        raise NotConstantError(span, "a division by zero")
    match sign:
        case "+":
            return left + right
        case "-":
            return left - right
        case "*":
            return left * right
        case "//":
            return left // right
        case "%":
            return left % right
        case _:
            exact = isinstance(left, int) and isinstance(right, int) and left % right == 0
            return left // right if exact else left / right


def _raise_to_power(base: Constant, exponent: Constant, span: Span) -> Constant:
    if abs(exponent) > 64 or (base == 0 and exponent < 0) or (base < 0 and exponent % 1):
        raise NotConstantError(span, "this power has no sensible value")
    if abs(base) > MAX_INTEGER:
        raise NotConstantError(span, TOO_LARGE_MESSAGE)
    try:
        result: Constant = base**exponent
    except OverflowError:
        raise NotConstantError(span, TOO_LARGE_MESSAGE) from None
    return result


def _compare(comparator: str, left: Constant, right: Constant) -> int:
    match comparator:
        case "<":
            return int(left < right)
        case "<=":
            return int(left <= right)
        case ">":
            return int(left > right)
        case ">=":
            return int(left >= right)
        case "==":
            return int(left == right)
        case _:
            return int(left != right)
