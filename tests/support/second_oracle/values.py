"""Values of expressions at one step of one row: NumPy arrays, each with its slope.

A slope is the derivative along one direction (forward mode, dual numbers), so nothing here contains
a reverse-mode rule.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]


class Unsupported(Exception):
    """A construct without meaning in this oracle; it never guesses."""


class Absent(Unsupported):
    """A missing parameter or past value; an error only if its value is read.

    A model has no parameter that its outputs and states do not need.
    """


@dataclass(frozen=True, slots=True, eq=False)
class Vector:
    """(n,) of values and (n,) of slopes; `present` is False where an entry is missing.

    A missing entry is 0, and so is its slope. `pointed` is False where an entry is 0 because
    softmax found none there; its logarithm is missing again.
    """

    value: Array
    slope: Array
    present: Mask | None = None
    pointed: Mask | None = None

    @property
    def width(self) -> int:
        """Number of entries, missing ones included."""
        return len(self.value)


@dataclass(frozen=True, slots=True, eq=False)
class Symbol:
    """One of `size` symbols, or none (−1)."""

    symbol: int
    size: int


@dataclass(frozen=True, slots=True, eq=False)
class Matrix:
    """A matrix parameter: (r, c), of `blocks` (k, r, c), or the diagonal (n,)."""

    value: Array
    slope: Array
    form: Literal["matrix", "blocks", "diagonal"]
    transposed: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Window:
    """One row per step, each `size` wide; None is a row outside the segment."""

    rows: tuple[Vector | Symbol | None, ...]
    size: int
    is_symbol: bool
    transposed: bool = False


Number = int | float
Value = Number | Vector | Symbol | Matrix | Window | Absent | tuple["Value", ...]
"""An `Absent` occurs only as an operand, a local, or part of a tuple; reading it raises it."""


def constant(value: Array) -> Vector:
    """Make a vector without a slope."""
    value = np.asarray(value, dtype=np.float64)
    return Vector(value, np.zeros_like(value))


def zero_missing(value: Array, slope: Array, present: Mask | None) -> Vector:
    """Make a vector with missing entries set to 0."""
    if present is None:
        return Vector(value, slope)
    return Vector(np.where(present, value, 0.0), np.where(present, slope, 0.0), present)


def require_present(value: Value) -> Value:
    """Return a value that is present.

    Raises:
        Absent: the value, if it is absent.
    """
    if isinstance(value, Absent):
        raise value
    return value


def as_vector(value: Value, what: str = "this") -> Vector:
    """Convert a value to a vector, with missing entries."""
    match value:
        case Vector():
            return value
        case int() | float():
            return constant(np.array([float(value)]))
        case Matrix(diagonal, slope, "diagonal"):
            return Vector(diagonal, slope)
        case _:
            raise Unsupported(f"{type(value).__name__} where a vector belongs: `{what}`")


def as_full_vector(value: Value, what: str = "this") -> Vector:
    """Convert a value to a vector, with missing entries as 0."""
    vector = as_vector(value, what)
    return Vector(vector.value, vector.slope)


def without_slope(value: Value) -> Value:
    """Drop the slope of a value; matrix parameters keep theirs."""
    match value:
        case Vector(entries, slope, present):
            return Vector(entries, np.zeros_like(slope), present, value.pointed)
        case Window():
            raise Unsupported("a window in a law, which has no time")
        case tuple():
            return tuple(without_slope(part) for part in value)
        case _:
            return value


def times(factor: Array, slope: Array) -> Array:
    """Multiply a slope by a derivative; a zero slope stays zero for infinite derivatives."""
    with np.errstate(all="ignore"):
        return np.where(slope == 0, 0.0, factor * slope)


def elementwise(z: Vector, function: Callable[[Array], tuple[Array, Array]]) -> Vector:
    """Apply an elementwise function, given with its derivative."""
    with np.errstate(all="ignore"):
        value, derivative = function(z.value)
    return zero_missing(value, times(derivative, z.slope), z.present)


def elementwise_binary(
    a: Vector,
    b: Vector,
    function: Callable[[Array, Array], tuple[Array, Array, Array]],
    what: str = "these",
) -> Vector:
    """Apply a binary elementwise function, given with both derivatives; one entry broadcasts.

    An entry is missing if it is missing in one of the two.
    """
    if a.width != b.width and 1 not in {a.width, b.width}:
        raise Unsupported(f"vectors of {a.width} and {b.width}: `{what}`")
    width = max(a.width, b.width)
    x, dx, y, dy = (np.broadcast_to(v, width) for v in (a.value, a.slope, b.value, b.slope))
    with np.errstate(all="ignore"):
        value, by_a, by_b = function(x, y)
    slope = times(by_a, dx) + times(by_b, dy)
    return zero_missing(value, slope, all_masks([a.present, b.present], width))


def all_masks(masks: Sequence[Mask | None], width: int) -> Mask | None:
    """Return the conjunction of masks; None is True everywhere."""
    known = [np.broadcast_to(mask, width) for mask in masks if mask is not None]
    return np.logical_and.reduce(known) if known else None


def add(a: Vector, b: Vector, what: str = "+") -> Vector:
    """Return a + b."""
    return elementwise_binary(a, b, lambda x, y: (x + y, np.ones_like(x), np.ones_like(y)), what)


def subtract(a: Vector, b: Vector, what: str = "-") -> Vector:
    """Return a − b."""
    return elementwise_binary(a, b, lambda x, y: (x - y, np.ones_like(x), -np.ones_like(y)), what)


def multiply(a: Vector, b: Vector, what: str = "⊙") -> Vector:
    """Return a ⊙ b."""
    return _pointed(a, b, elementwise_binary(a, b, lambda x, y: (x * y, y, x), what))


def divide(a: Vector, b: Vector, what: str = "/") -> Vector:
    """Return a / b."""
    return _pointed(a, b, elementwise_binary(a, b, lambda x, y: (x / y, 1 / y, -x / (y * y)), what))


def _pointed(a: Vector, b: Vector, result: Vector) -> Vector:
    return replace(result, pointed=all_masks([a.pointed, b.pointed], result.width))


def total(z: Vector) -> Vector:
    """Return the sum of the entries, as a vector of one."""
    return Vector(z.value.sum(keepdims=True), z.slope.sum(keepdims=True))


def concatenate(parts: list[Vector]) -> Vector:
    """Concatenate vectors; missing entries stay missing."""
    present = None
    if any(part.present is not None for part in parts):
        present = np.concatenate(
            [np.ones(p.width, dtype=bool) if p.present is None else p.present for p in parts]
        )
    return Vector(
        np.concatenate([part.value for part in parts]),
        np.concatenate([part.slope for part in parts]),
        present,
    )


def slice_entries(z: Vector, start: int, stop: int) -> Vector:
    """Return the entries from `start` to before `stop`."""
    present = None if z.present is None else z.present[start:stop]
    pointed = None if z.pointed is None else z.pointed[start:stop]
    return Vector(z.value[start:stop], z.slope[start:stop], present, pointed)
