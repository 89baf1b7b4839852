"""Elementwise operations as C expressions on vectors; `csrc/vec_math.h` has the functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final


def _join(operator: str) -> Callable[[Sequence[str]], str]:
    return lambda operands: f" {operator} ".join(operands)


_ARITHMETIC: Final[dict[str, Callable[[Sequence[str]], str]]] = {
    "add": _join("+"),
    "multiply": _join("*"),
    "subtract": _join("-"),
    "divide": _join("/"),
    "negate": lambda o: f"-{o[0]}",
    "one_minus": lambda o: f"1 - {o[0]}",
    "square": lambda o: f"{o[0]} * {o[0]}",
    "reciprocal": lambda o: f"1 / {o[0]}",
    "linear": lambda o: f"{o[0]} * {o[2]} + {o[1]}",
    "state": lambda o: o[0],
    "stopgrad": lambda o: o[0],
}


def expression(operation: str, operands: Sequence[str]) -> str:
    """Write an operation on C variables: arithmetic in place, else a call of `v_OPERATION`."""
    if operation in _ARITHMETIC:
        return _ARITHMETIC[operation](operands)
    return f"v_{operation}({', '.join(operands)})"


def literal(number: float) -> str:
    """Write a number as a C literal, exact to the last bit."""
    if number != number:
        return "(real)NAN"
    if number in (float("inf"), float("-inf")):
        return "(real)INFINITY" if number > 0 else "(real)-INFINITY"
    return f"(real){number.hex()}"
