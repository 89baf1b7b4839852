"""Build operations on windows of time, matrices of one row per step that are never stored.

Vectors of their rows carry a mask, since rows outside a segment are missing (docs/decisions/0006).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from rnnc.grammar.source import Span
from rnnc.operators.elaborate.context.size_inference import Dim
from rnnc.operators.elaborate.context.values import SymbolVector, Value, Vector, Window
from rnnc.operators.graph.operator_graph import Operand

from .scoped_builder import ScopedBuilder

WINDOW_LENGTH_LIMIT: Final = 65_536
"""Maximal number of rows of a window, and of steps between a variable and its read."""


def build_window(
    builder: ScopedBuilder,
    node: int,
    size: Dim,
    first: int,
    last: int,
    span: Span,
    *,
    is_symbol: bool,
) -> Window:
    """Return the rows of a variable from `t + first` to `t + last`."""
    length = last - first + 1
    if not 1 <= length <= WINDOW_LENGTH_LIMIT:
        builder.fail(
            "RNN406",
            f"`{span.text}` has {max(length, 0):,} rows",
            span,
            hint="the earlier time comes first, `h[t-99..t]`; "
            f"at most {WINDOW_LENGTH_LIMIT:,} rows",
        )
    ends = dict.fromkeys((Operand(node, -first), Operand(node, -last)))
    rows = builder.add_vector("window", tuple(ends), size, span, (-first, -last))
    return Window(rows.operand, builder.sizes.constant(length), size, is_symbol)


def multiply_window(
    builder: ScopedBuilder, rows: Window, right: Value, a: Span, b: Span, span: Span
) -> Vector:
    """Return `M q`, one entry per row, or `Mᵀ a`, the sum of rows weighted by a."""
    if rows.transposed:
        weights = builder.to_vector(right, b)
        builder.unify(rows.length, weights.size, span, a, b)
        return builder.add_vector("mix", (rows.operand, weights.operand), rows.size, span)
    mask = builder.add_vector("present", (rows.operand,), rows.length, span).operand
    if isinstance(right, SymbolVector) and rows.is_symbol:
        builder.unify(rows.size, right.size, span, a, b)
        products = builder.add_vector("matches", (rows.operand, right.operand), rows.length, span)
    else:
        query = builder.to_vector(right, b)
        builder.unify(rows.size, query.size, span, a, b)
        products = builder.add_vector("scores", (rows.operand, query.operand), rows.length, span)
    return Vector(products.operand, products.size, mask)


def fill_missing(builder: ScopedBuilder, vector: Vector, span: Span) -> Vector:
    """Set missing entries to 1, for functions without a value or slope at 0."""
    if vector.mask is None:
        return vector
    one = builder.add_vector("constant", (), builder.sizes.constant(1), span, (1.0,)).operand
    masked = builder.to_vector(vector, span)
    missing = builder.add_vector("subtract", (one, vector.mask), vector.size, span)
    filled = builder.add_vector("add", (masked.operand, missing.operand), vector.size, span)
    return replace(filled, mask=vector.mask)


def intersect_masks(
    builder: ScopedBuilder, vectors: list[Vector], size: Dim, span: Span
) -> Operand | None:
    """Return the mask of an elementwise result: entries that all vectors have."""
    mask: Operand | None = None
    for vector in vectors:
        operand_mask = _broadcast_mask(builder, vector, size, span)
        if mask is None or operand_mask in {None, mask}:
            mask = mask or operand_mask
        elif operand_mask is not None:
            mask = builder.add_vector("multiply", (mask, operand_mask), size, span).operand
    return mask


def _broadcast_mask(
    builder: ScopedBuilder, vector: Vector, size: Dim, span: Span
) -> Operand | None:
    """Return a vector's mask as wide as the result; one entry counts for all entries."""
    sizes = builder.sizes
    is_scalar = sizes.value(vector.size) == 1 and sizes.value(size) != 1
    if vector.mask is None or not is_scalar:
        return vector.mask
    ones = builder.add_vector("constant", (), size, span, (1.0,)).operand
    return builder.add_vector("multiply", (ones, vector.mask), size, span).operand


def with_log_mask(vector: Vector) -> Vector:
    """Replace a vector's mask by the one for its logarithm."""
    return replace(vector, mask=vector.log_mask)


def concatenate_masks(
    builder: ScopedBuilder, vectors: list[Vector], size: Dim, span: Span
) -> Operand | None:
    """Return the mask of a concatenation, or None without missing entries."""
    if all(vector.mask is None for vector in vectors):
        return None
    parts = [
        vector.mask or builder.add_vector("constant", (), vector.size, span, (1.0,)).operand
        for vector in vectors
    ]
    return builder.add_vector("concatenate", tuple(parts), size, span).operand
