"""Multiply a matrix or a window of time with the value right of it."""

from __future__ import annotations

import numpy as np

from support.second_oracle.values import (
    Array,
    Matrix,
    Symbol,
    Unsupported,
    Value,
    Vector,
    Window,
    as_full_vector,
    as_vector,
    constant,
    multiply,
)


def product(left: Value, right: Value, what: str) -> Value:
    """Return `W h`, `E x` of a symbol, `u h` of a diagonal, `M q` or `Mᵀ a` of a window."""
    match left:
        case Matrix(value, slope, "diagonal"):
            vector = as_full_vector(right, what)
            if vector.width != len(value):
                raise Unsupported(f"a diagonal of {len(value)} for {vector.width}: `{what}`")
            return multiply(Vector(value, slope), vector)
        case Matrix():
            return _matrix(left, right, what)
        case Window(_, _, _, True):
            return _mixture(left, right, what)
        case Window():
            return _scores(left, right, what)
        case _:
            raise Unsupported(f"{type(left).__name__} left of a product: `{what}`")


def dense(array: Array, *, transposed: bool) -> Array:
    """Convert a matrix to dense form, blocks on its diagonal."""
    if array.ndim == 3:
        k, r, c = array.shape
        full = np.zeros((k * r, k * c))
        for i, block in enumerate(array):
            full[i * r : (i + 1) * r, i * c : (i + 1) * c] = block
        array = full
    return array.T if transposed else array


def _matrix(left: Matrix, right: Value, what: str) -> Vector:
    value = dense(left.value, transposed=left.transposed)
    slope = dense(left.slope, transposed=left.transposed)
    if isinstance(right, Symbol):
        if value.shape[1] != right.size:
            raise Unsupported(f"{value.shape[1]} columns for {right.size} symbols: `{what}`")
        if right.symbol < 0:
            return constant(np.zeros(len(value)))
        return Vector(value[:, right.symbol], slope[:, right.symbol])
    vector = as_full_vector(right, what)
    if value.shape[1] != vector.width:
        raise Unsupported(f"{value.shape[1]} columns for {vector.width} entries: `{what}`")
    return Vector(value @ vector.value, slope @ vector.value + value @ vector.slope)


def _row(row: Vector | Symbol, size: int) -> Vector:
    """Return a window's row; a symbol's is one-hot, and zero for no symbol."""
    if isinstance(row, Vector):
        return row
    hot = np.zeros(size)
    if row.symbol >= 0:
        hot[row.symbol] = 1
    return constant(hot)


def _scores(window: Window, right: Value, what: str) -> Vector:
    """Return `M q`: the dot product of each row with q; missing for missing rows."""
    if isinstance(right, Symbol):
        if not window.is_symbol:
            raise Unsupported(f"a window of vectors before a symbol: `{what}`")
        query = _row(right, right.size)
    else:
        query = as_full_vector(right, what)
    if query.width != window.size:
        raise Unsupported(f"rows of {window.size} before {query.width} entries: `{what}`")
    value, slope = np.zeros((2, len(window.rows)))
    for i, window_row in enumerate(window.rows):
        if window_row is not None:
            row = _row(window_row, window.size)
            value[i] = row.value @ query.value
            slope[i] = row.value @ query.slope + row.slope @ query.value
    return Vector(value, slope, np.array([row is not None for row in window.rows]))


def _mixture(window: Window, right: Value, what: str) -> Vector:
    """Return `Mᵀ a`: the sum of the present rows weighted by a."""
    weights = as_vector(as_full_vector(right, what))
    if weights.width != len(window.rows):
        raise Unsupported(f"{len(window.rows)} rows for {weights.width} weights: `{what}`")
    value, slope = np.zeros((2, window.size))
    for i, window_row in enumerate(window.rows):
        if window_row is not None:
            row = _row(window_row, window.size)
            value = value + weights.value[i] * row.value
            slope = slope + weights.slope[i] * row.value + weights.value[i] * row.slope
    return Vector(value, slope)
