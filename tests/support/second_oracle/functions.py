"""The functions of the language from the manual's table, each with its derivative."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from support.second_oracle.values import (
    Array,
    Unsupported,
    Vector,
    add,
    all_masks,
    constant,
    divide,
    elementwise,
    multiply,
    subtract,
    total,
    zero_missing,
)

Rule = Callable[[Array], tuple[Array, Array]]


def _sigmoid(z: Array) -> Array:
    small = np.exp(-np.abs(z))
    return np.where(z >= 0, 1 / (1 + small), small / (1 + small))


def _gelu(z: Array) -> tuple[Array, Array]:
    below = np.array([0.5 * math.erfc(-x / math.sqrt(2)) for x in z])
    density = np.exp(-z * z / 2) / math.sqrt(2 * math.pi)
    return z * below, below + z * density


def _silu(z: Array) -> tuple[Array, Array]:
    s = _sigmoid(z)
    return z * s, s + z * s * (1 - s)


def _elu(z: Array) -> tuple[Array, Array]:
    below = np.expm1(np.minimum(z, 0))
    return np.where(z > 0, z, below), np.where(z > 0, 1.0, below + 1)


ELEMENTWISE: dict[str, Rule] = {
    "tanh": lambda z: (np.tanh(z), 1 - np.tanh(z) ** 2),
    "sigmoid": lambda z: (_sigmoid(z), _sigmoid(z) * _sigmoid(-z)),
    "σ": lambda z: (_sigmoid(z), _sigmoid(z) * _sigmoid(-z)),
    "relu": lambda z: (np.maximum(z, 0), np.where(z > 0, 1.0, 0.0)),
    "leaky_relu": lambda z: (np.where(z > 0, z, 0.01 * z), np.where(z > 0, 1.0, 0.01)),
    "elu": _elu,
    "gelu": _gelu,
    "silu": _silu,
    "softplus": lambda z: (np.logaddexp(0, z), _sigmoid(z)),
    "softsign": lambda z: (z / (1 + np.abs(z)), 1 / (1 + np.abs(z)) ** 2),
    "exp": lambda z: (np.exp(z), np.exp(z)),
    "log": lambda z: (np.log(z), 1 / z),
    "abs": lambda z: (np.abs(z), np.sign(z)),
    "sqrt": lambda z: (np.sqrt(z), 0.5 / np.sqrt(z)),
    "sin": lambda z: (np.sin(z), np.cos(z)),
    "cos": lambda z: (np.cos(z), -np.sin(z)),
    "identity": lambda z: (z, np.ones_like(z)),
}
"""Values and derivatives; at kinks (relu, leaky_relu, elu, abs at 0) as in the manual."""

MASKED_FUNCTIONS = frozenset(ELEMENTWISE) | {
    "softmax",
    "dropout",
    "variational",
    "zoneout",
    "stopgrad",
}
"""Functions of vectors with missing entries; for all others these are 0."""


def softmax(z: Vector) -> Vector:
    """Return eᶻ / Σ eᶻ over present entries; 0 for the others, and for all if none is present."""
    present = np.ones(z.width, dtype=bool) if z.present is None else z.present
    if not present.any():
        return Vector(np.zeros(z.width), np.zeros(z.width), pointed=z.present)
    value = np.where(present, np.exp(np.where(present, z.value - z.value[present].max(), 0)), 0)
    value = value / value.sum()
    return Vector(value, value * (z.slope - (value * z.slope).sum()), pointed=z.present)


def logarithm(z: Vector) -> Vector:
    """Return the natural logarithm, missing where softmax found no entry."""
    present = all_masks([z.present, z.pointed], z.width)
    return elementwise(Vector(z.value, z.slope, present), ELEMENTWISE["log"])


def maxout(k: int, z: Vector) -> Vector:
    """Return the largest of each k entries; equal ones share the slope."""
    value, slope = z.value.reshape(-1, k), z.slope.reshape(-1, k)
    largest = value.max(1)
    ties = value == largest[:, None]
    return Vector(largest, (slope * ties).sum(1) / ties.sum(1))


def lp(k: int, z: Vector, rho: Vector) -> Vector:
    """Return (mean |z|ᵖ)^(1/p) of each k entries, p = 1 + log(1 + e^ρ); 0 for k zeros."""
    units = z.width // k
    power = elementwise(rho, ELEMENTWISE["softplus"])
    p, dp = (np.broadcast_to(a, units) for a in (1 + power.value, power.slope))
    value, slope = np.zeros(units), np.zeros(units)
    for unit in range(units):
        a = z.value[unit * k : (unit + 1) * k]
        da = z.slope[unit * k : (unit + 1) * k]
        size = np.abs(a).max()
        if size == 0:
            continue
        # Scale by the largest entry, so that no power underflows.
        b = np.abs(a) / size
        logs = np.where(b > 0, np.log(np.where(b > 0, b, 1)), 0)
        mean = (b ** p[unit]).mean()
        value[unit] = size * mean ** (1 / p[unit])
        moved = (b ** (p[unit] - 1) * np.sign(a) * da).mean() / mean
        bent = (b ** p[unit] * logs).mean() / mean / p[unit] - np.log(mean) / p[unit] ** 2
        slope[unit] = value[unit] * (moved / size + bent * dp[unit])
    return Vector(value, slope)


def _mean(z: Vector) -> Vector:
    return divide(total(z), constant(np.array([float(z.width)])))


def _divide_by_rms(z: Vector) -> Vector:
    square = add(_mean(multiply(z, z)), constant(np.array([1e-5])))
    return divide(z, elementwise(square, ELEMENTWISE["sqrt"]))


def layernorm(z: Vector, g: Vector, b: Vector) -> Vector:
    """Return g ⊙ (z − mean z) / √(var z + 1e-5) + b, with the biased variance."""
    return add(multiply(g, _divide_by_rms(subtract(z, _mean(z)))), b)


def rmsnorm(z: Vector, g: Vector) -> Vector:
    """Return g ⊙ z / √(mean z² + 1e-5)."""
    return multiply(g, _divide_by_rms(z))


def zoneout(p: float, new: Vector, old: Vector) -> Vector:
    """Return p old + (1 − p) new, which is zoneout in evaluation."""
    share = constant(np.array([p]))
    complement = constant(np.array([1 - p]))
    return add(multiply(share, old), multiply(complement, new))


def dot(a: Vector, b: Vector) -> Vector:
    """Return Σ a b."""
    if a.width != b.width:
        raise Unsupported(f"dot of {a.width} and {b.width} entries")
    return total(multiply(a, b))


CONSTANTS = {"maxout": 1, "lp": 1, "dropout": 1, "variational": 1, "zoneout": 1}
"""Numbers of leading constant arguments."""

OPERANDS = {"lp": 2, "zoneout": 2, "layernorm": 3, "rmsnorm": 2, "dot": 2}
"""Numbers of vectors after them, where it is not one."""

FUNCTIONS = frozenset(ELEMENTWISE) | {
    "softmax", "maxout", "lp", "dropout", "variational", "zoneout", "layernorm", "rmsnorm", "sum",
    "dot", "stopgrad", "split",
}  # fmt: skip


_OF_VECTORS: dict[str, Callable[..., Vector]] = {
    "softmax": softmax,
    "layernorm": layernorm,
    "rmsnorm": rmsnorm,
    "sum": total,
    "dot": dot,
    "stopgrad": lambda z: zero_missing(z.value, np.zeros_like(z.slope), z.present),
}
_OF_NUMBERS: dict[str, Callable[..., Vector]] = {
    "maxout": lambda k, z: maxout(_group(k, z), z),
    "lp": lambda k, z, rho: lp(_group(k, z), z, rho),
    "dropout": lambda p, z: z,
    "variational": lambda p, z: z,
    "zoneout": zoneout,
}


def _group(k: int | float, z: Vector) -> int:
    if k != int(k) or k < 1 or z.width % int(k):
        raise Unsupported(f"{z.width} entries in groups of {k}")
    return int(k)


def call(name: str, numbers: list[int | float], operands: list[Vector]) -> Vector:
    """Apply a function of the language, in evaluation, to its constants and vectors."""
    if name == "log":
        return logarithm(operands[0])
    if name in ELEMENTWISE:
        return elementwise(operands[0], ELEMENTWISE[name])
    if name in _OF_VECTORS:
        return _OF_VECTORS[name](*operands)
    return _OF_NUMBERS[name](*numbers, *operands)
