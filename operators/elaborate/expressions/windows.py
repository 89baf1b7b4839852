"""Windows of time: what a matrix with one row a step does, without ever being built."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from rnnc.grammar.source import Span
from rnnc.operators.elaborate.context.size_inference import Dim
from rnnc.operators.elaborate.context.values import SymbolVector, Value, Vector, Window
from rnnc.operators.graph.operator_graph import Operand

from .scoped_builder import Shapes

LENGTH_LIMIT: Final = 65_536
"""How many rows a window has at most, and how many steps away a variable is read."""


def window(
    shapes: Shapes, node: int, size: Dim, first: int, last: int, span: Span, *, is_symbol: bool
) -> Window:
    """The rows of a variable from `t + first` to `t + last`."""
    length = last - first + 1
    if not 1 <= length <= LENGTH_LIMIT:
        shapes.fail(
            "RNN406",
            f"`{span.text}` has {max(length, 0):,} rows",
            span,
            hint=f"the earlier time comes first, `h[t-99..t]`; at most {LENGTH_LIMIT:,} rows",
        )
    ends = dict.fromkeys((Operand(node, -first), Operand(node, -last)))
    found = shapes.add("window", tuple(ends), size, span, (-first, -last))
    return Window(found.operand, shapes.sizes.known(length), size, is_symbol)


def product(shapes: Shapes, rows: Window, right: Value, a: Span, b: Span, span: Span) -> Vector:
    """`M q`, one entry a row, or `Mᵀ a`, the sum of the rows with the weights a."""
    if rows.transposed:
        weights = shapes.vector(right, b)
        shapes.agree(rows.length, weights.size, span, a, b)
        return shapes.add("mix", (rows.operand, weights.operand), rows.size, span)
    present = shapes.add("present", (rows.operand,), rows.length, span).operand
    if isinstance(right, SymbolVector) and rows.is_symbol:
        shapes.agree(rows.size, right.size, span, a, b)
        found = shapes.add("matches", (rows.operand, right.operand), rows.length, span)
    else:
        query = shapes.vector(right, b)
        shapes.agree(rows.size, query.size, span, a, b)
        found = shapes.add("scores", (rows.operand, query.operand), rows.length, span)
    return Vector(found.operand, found.size, present)


def filled(shapes: Shapes, vector: Vector, span: Span) -> Vector:
    """A vector with 1 where an entry is missing, for functions that have no value or slope at 0."""
    if vector.present is None:
        return vector
    one = shapes.add("constant", (), shapes.sizes.known(1), span, (1.0,)).operand
    whole = shapes.vector(vector, span)
    rest = shapes.add("subtract", (one, vector.present), vector.size, span)
    full = shapes.add("add", (whole.operand, rest.operand), vector.size, span)
    return replace(full, present=vector.present)


def both_present(shapes: Shapes, vectors: list[Vector], size: Dim, span: Span) -> Operand | None:
    """Where an elementwise result of vectors has entries: where all of them have."""
    found: Operand | None = None
    for vector in vectors:
        if found is None or vector.present in {None, found}:
            found = found or vector.present
        elif vector.present is not None:
            found = shapes.add("multiply", (found, vector.present), size, span).operand
    return found


def with_pointed(vector: Vector) -> Vector:
    """A vector that is missing where it is 0 because a row was."""
    return replace(vector, present=vector.pointed)


def all_present(shapes: Shapes, vectors: list[Vector], size: Dim, span: Span) -> Operand | None:
    """Where a concatenation of vectors has entries."""
    if all(vector.present is None for vector in vectors):
        return None
    parts = [
        vector.present or shapes.add("constant", (), vector.size, span, (1.0,)).operand
        for vector in vectors
    ]
    return shapes.add("concatenate", tuple(parts), size, span).operand
