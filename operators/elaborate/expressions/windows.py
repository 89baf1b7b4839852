"""Windows of time: what a matrix with one row a step does, without ever being built."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from rnnc.grammar.source import Span
from rnnc.operators.elaborate.context.size_inference import Dim
from rnnc.operators.elaborate.context.values import SymbolVector, Value, Vector, Window
from rnnc.operators.graph.operator_graph import Operand

from .scoped_builder import ScopedBuilder

WINDOW_LENGTH_LIMIT: Final = 65_536
"""How many rows a window has at most, and how many steps away a variable is read."""


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
    """The rows of a variable from `t + first` to `t + last`."""
    length = last - first + 1
    if not 1 <= length <= WINDOW_LENGTH_LIMIT:
        builder.fail(
            "RNN406",
            f"`{span.text}` has {max(length, 0):,} rows",
            span,
            hint=f"the earlier time comes first, `h[t-99..t]`; at most {WINDOW_LENGTH_LIMIT:,} rows",
        )
    ends = dict.fromkeys((Operand(node, -first), Operand(node, -last)))
    found = builder.add_vector("window", tuple(ends), size, span, (-first, -last))
    return Window(found.operand, builder.sizes.constant(length), size, is_symbol)


def multiply_window(
    builder: ScopedBuilder, rows: Window, right: Value, a: Span, b: Span, span: Span
) -> Vector:
    """`M q`, one entry a row, or `Mᵀ a`, the sum of the rows with the weights a."""
    if rows.transposed:
        weights = builder.to_vector(right, b)
        builder.unify(rows.length, weights.size, span, a, b)
        return builder.add_vector("mix", (rows.operand, weights.operand), rows.size, span)
    present = builder.add_vector("present", (rows.operand,), rows.length, span).operand
    if isinstance(right, SymbolVector) and rows.is_symbol:
        builder.unify(rows.size, right.size, span, a, b)
        found = builder.add_vector("matches", (rows.operand, right.operand), rows.length, span)
    else:
        query = builder.to_vector(right, b)
        builder.unify(rows.size, query.size, span, a, b)
        found = builder.add_vector("scores", (rows.operand, query.operand), rows.length, span)
    return Vector(found.operand, found.size, present)


def fill_missing(builder: ScopedBuilder, vector: Vector, span: Span) -> Vector:
    """A vector with 1 where an entry is missing, for functions that have no value or slope at 0."""
    if vector.mask is None:
        return vector
    one = builder.add_vector("constant", (), builder.sizes.constant(1), span, (1.0,)).operand
    whole = builder.to_vector(vector, span)
    rest = builder.add_vector("subtract", (one, vector.mask), vector.size, span)
    full = builder.add_vector("add", (whole.operand, rest.operand), vector.size, span)
    return replace(full, mask=vector.mask)


def intersect_masks(
    builder: ScopedBuilder, vectors: list[Vector], size: Dim, span: Span
) -> Operand | None:
    """Where an elementwise result of vectors has entries: where all of them have."""
    found: Operand | None = None
    for vector in vectors:
        if found is None or vector.mask in {None, found}:
            found = found or vector.mask
        elif vector.mask is not None:
            found = builder.add_vector("multiply", (found, vector.mask), size, span).operand
    return found


def with_log_mask(vector: Vector) -> Vector:
    """A vector that is missing where it is 0 because a row was."""
    return replace(vector, mask=vector.log_mask)


def concatenate_masks(
    builder: ScopedBuilder, vectors: list[Vector], size: Dim, span: Span
) -> Operand | None:
    """Where a concatenation of vectors has entries."""
    if all(vector.mask is None for vector in vectors):
        return None
    parts = [
        vector.mask or builder.add_vector("constant", (), vector.size, span, (1.0,)).operand
        for vector in vectors
    ]
    return builder.add_vector("concatenate", tuple(parts), size, span).operand
