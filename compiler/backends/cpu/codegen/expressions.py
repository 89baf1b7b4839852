"""Elementwise operations as C expressions on vectors (`functions.h` has what is not arithmetic)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final


def _chain(sign: str) -> Callable[[Sequence[str]], str]:
    return lambda operands: f" {sign} ".join(operands)


_ARITHMETIC: Final[dict[str, Callable[[Sequence[str]], str]]] = {
    "add": _chain("+"),
    "multiply": _chain("*"),
    "subtract": _chain("-"),
    "divide": _chain("/"),
    "negate": lambda o: f"-{o[0]}",
    "one_minus": lambda o: f"1 - {o[0]}",
    "square": lambda o: f"{o[0]} * {o[0]}",
    "reciprocal": lambda o: f"1 / {o[0]}",
    "linear": lambda o: f"{o[0]} * {o[2]} + {o[1]}",
    "state": lambda o: o[0],
    "stopgrad": lambda o: o[0],
}


def expression(operation: str, operands: Sequence[str]) -> str:
    """The operation of some variables."""
    if operation in _ARITHMETIC:
        return _ARITHMETIC[operation](operands)
    return f"v_{operation}({', '.join(operands)})"


def literal(number: float) -> str:
    """A number as C writes it, to the last bit."""
    if number != number:
        return "(real)NAN"
    if number in (float("inf"), float("-inf")):
        return "(real)INFINITY" if number > 0 else "(real)-INFINITY"
    return f"(real){number.hex()}"
