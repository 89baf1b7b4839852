"""Triton expressions of elementwise operations, and the device functions that they call."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

_DEVICE_FUNCTIONS: Final = '''
@triton.jit
def real(number: tl.constexpr):
    return tl.full((1, 1), number, REAL)


@triton.jit
def matmul(x, w, total, PRECISION: tl.constexpr):
    return tl.dot(x.to(w.dtype), w, total, input_precision=PRECISION, out_dtype=REAL)


@triton.jit
def compose(a, b, c, d):
    """Compose v -> a v + b with the later v -> c v + d."""
    return a * c, b * c + d


@triton.jit
def sigmoid(z):
    e = tl.exp(-tl.abs(z))
    return tl.where(z < 0, e, 1.0) / (1.0 + e)


@triton.jit
def tanh(z):
    """(1 - e) / (1 + e), but near zero, where that cancels, the Taylor series."""
    a = tl.abs(z)
    e = tl.exp(-2.0 * a)
    s = a * a
    series = a * (1.0 - s * (1 / 3 - s * (2 / 15 - s * (17 / 315 - s * (62 / 2835)))))
    y = tl.where(a < 0.15, series, (1.0 - e) / (1.0 + e))
    return tl.where(z < 0, -y, y)


@triton.jit
def log1p(z):
    """Kahan's log1p for z > -1, accurate where 1 + z is rounded."""
    u = 1.0 + z
    increment = tl.where(u == 1.0, 1.0, u - 1.0)
    return tl.where(u == 1.0, z, tl.log(u) * (z / increment))


@triton.jit
def logaddexp(a, b):
    """log(exp a + exp b); one of them may be -inf."""
    maximum = tl.where(a < b, b, a)
    difference = tl.where(a == b, 0.0, -tl.abs(a - b))
    return maximum + log1p(tl.exp(difference))


@triton.jit
def power(a, b):
    """a to the power b for a >= 0."""
    y = tl.exp(b * tl.log(tl.where(a == 0, 1.0, a)))
    return tl.where(a == 0, tl.where(b == 0, 1.0, tl.where(b < 0, float("inf"), 0.0)), y)


@triton.jit
def positive(z):
    return tl.where(z > 0, 1.0, 0.0)


@triton.jit
def gelu(z):
    return 0.5 * z * (1.0 + tl.erf(z * 0.7071067811865476))


@triton.jit
def gelu_slope(z):
    cdf = 0.5 * (1.0 + tl.erf(z * 0.7071067811865476))
    return cdf + z * tl.exp(-0.5 * z * z) * 0.3989422804014327
'''

_UNARY: Final = {
    "tanh": "tanh({0})",
    "sigmoid": "sigmoid({0})",
    "relu": "tl.where({0} < 0, 0.0, {0})",
    "leaky_relu": "tl.where({0} > 0, {0}, 0.01 * {0})",
    "elu": "tl.where({0} > 0, {0}, tl.exp(tl.where({0} > 0, 0.0, {0})) - 1.0)",
    "gelu": "gelu({0})",
    "silu": "{0} * sigmoid({0})",
    "softplus": "tl.where({0} > 20, {0}, log1p(tl.exp(tl.where({0} > 20, 20.0, {0}))))",
    "softsign": "{0} / (1.0 + tl.abs({0}))",
    "exp": "tl.exp({0})",
    "log": "tl.log({0})",
    "abs": "tl.abs({0})",
    "sqrt": "tl.sqrt({0})",
    "sin": "tl.sin({0})",
    "cos": "tl.cos({0})",
    "negate": "-{0}",
    "positive": "positive({0})",
    "sign": "tl.where({0} > 0, 1.0, tl.where({0} < 0, -1.0, 0.0 * {0}))",
    "square": "{0} * {0}",
    "reciprocal": "1.0 / {0}",
    "at_least_tiny": "tl.where({0} < TINY, TINY, {0})",
    "gelu_slope": "gelu_slope({0})",
    "softplus_slope": "tl.where({0} > 20, 1.0, sigmoid({0}))",
    "one_minus": "1.0 - {0}",
}
_MULTI_OPERAND: Final = {
    "subtract": "{0} - {1}",
    "divide": "{0} / {1}",
    "power": "power({0}, {1})",
    "x_log_y": "tl.where({0} == 0, 0.0, {0} * tl.log({1}))",
    "logaddexp": "logaddexp({0}, {1})",
    "equal": "tl.where({0} == {1}, 1.0, 0.0)",
    "select": "tl.where({0} != 0, {1}, {2})",
}
EXPRESSIONS: Final = {**_UNARY, **_MULTI_OPERAND}
"""The expression of each operation of fixed arity; `add` and `multiply` take any number."""


def collect_functions(source: str) -> list[str]:
    """Return the device functions that a source needs, callees first."""
    functions: list[str] = []
    for text in reversed(_DEVICE_FUNCTIONS.strip("\n").split("\n\n\n")):
        name = text.split("def ")[1].split("(")[0]
        if any(re.search(rf"\b{name}\b", user) for user in (source, *functions)):
            functions.append(text)
    return functions[::-1]


def format_expression(operation: str, operands: Sequence[str]) -> str:
    """Return an elementwise operation on Triton expressions as a Triton expression."""
    if operation == "add":
        return " + ".join(operands)
    if operation == "multiply":
        return " * ".join(operands)
    return EXPRESSIONS[operation].format(*operands)
