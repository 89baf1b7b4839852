"""`log` of what is made of probabilities, taken term by term, so that nothing underflows.

The mixture `log(g * softmax(V h + b) + Xᵀ a)` is a sum of exponentials: factors add up, and sums
are taken as log-sum-exp. In float32 a probability of e⁻²⁰⁰ is 0, and its logarithm −200 is not.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from rnnc.grammar.source import Span
from rnnc.operators.elaborate.context.size_inference import Dim
from rnnc.operators.elaborate.context.values import Vector
from rnnc.operators.graph.operator_graph import Operand

from .scoped_builder import ScopedBuilder
from .windows import fill_missing, intersect_masks

LOG_DEPTH_LIMIT = 200
"""Operations inside operations that are looked through."""


def logarithm(builder: ScopedBuilder, vector: Vector, span: Span) -> Vector:
    """The logarithm of a vector: term by term where every term has one, or the function `log`."""
    found = _LogSpaceRewriter(builder, span).rewrite(vector.operand, LOG_DEPTH_LIMIT)
    if found is None:
        whole = fill_missing(builder, vector, span)
        return builder.add_vector("log", (whole.operand,), vector.size, span)
    return found


class _LogSpaceRewriter:
    """The logarithms found while one expression is looked through; None for those that are not.

    A vector with `intersect_masks` has the logarithm −∞ where it is 0.
    """

    def __init__(self, shapes: ScopedBuilder, span: Span) -> None:
        self._builder, self._span = shapes, span
        self._rewritten: dict[int, Vector | None] = {}

    def rewrite(self, operand: Operand, depth: int) -> Vector | None:
        """The logarithm of a node's value, or None when it is not made of probabilities."""
        node = self._builder.builder.nodes[operand.node]
        rule = _REWRITE_RULES.get(node.operation)
        if operand.delay or rule is None or not depth:
            return None
        if operand.node not in self._rewritten:
            self._rewritten[operand.node] = rule(
                self, node.operands, node.size, operand.node, depth - 1
            )
        return self._rewritten[operand.node]

    def add_vector(
        self,
        operation: str,
        operands: tuple[Operand, ...],
        size: Dim,
        attributes: tuple[float, ...] = (),
        present: Operand | None = None,
    ) -> Vector:
        """A new value."""
        found = self._builder.add_vector(operation, operands, size, self._span, attributes)
        return Vector(found.operand, found.size, present)

    def attributes_of(self, node: int) -> tuple[float, ...]:
        """The constants of a node."""
        return tuple(float(a) for a in self._builder.builder.nodes[node].attributes)

    def operation_of(self, operand: Operand) -> str:
        """What computes a value."""
        return self._builder.builder.nodes[operand.node].operation

    def has_symbol_rows(self, rows: Operand) -> bool:
        """Whether the rows of a window are symbols."""
        variable = self._builder.builder.nodes[rows.node].operands[0].node
        return variable in self._builder.builder.symbol_nodes

    def slice_mask(self, present: Operand, start: int, stop: int, size: Dim) -> Operand | None:
        """Where a slice has entries; None when it has them all."""
        shapes, at = self._builder, 0
        node = shapes.builder.nodes[present.node]
        for part in node.operands if node.operation == "concatenate" else ():
            inner = shapes.builder.nodes[part.node]
            end = at + (shapes.sizes.value(inner.size) or 0)
            if at <= start and stop <= end and inner.operation == "constant":
                return None
            at = end
        return self.add_vector("slice", (present,), size, (start, stop)).operand

    def intersect_masks(self, pair: tuple[Vector, Vector], size: Dim) -> Operand | None:
        """Where both of two vectors have entries."""
        return intersect_masks(self._builder, list(pair), size, self._span)

    def logsumexp(self, vector: Vector) -> Vector:
        """The logarithm of Σ eᶻ."""
        mask = () if vector.mask is None else (vector.mask,)
        one = self._builder.sizes.constant(1)
        return self.add_vector("logsumexp", (vector.operand, *mask), one)

    def rewrite_pair(
        self, operands: tuple[Operand, ...], depth: int
    ) -> tuple[Vector, Vector] | None:
        """The logarithms of two operands."""
        a, b = (self.rewrite(operand, depth) for operand in operands)
        return None if a is None or b is None else (a, b)


_RewriteRule = Callable[[_LogSpaceRewriter, tuple[Operand, ...], Dim, int, int], "Vector | None"]


def _softmax(
    at: _LogSpaceRewriter, operands: tuple[Operand, ...], size: Dim, node: int, depth: int
) -> Vector:
    present = operands[1] if len(operands) > 1 else None
    total = at.logsumexp(Vector(operands[0], size, present))
    return at.add_vector("subtract", (operands[0], total.operand), size, present=present)


def _sigmoid(
    at: _LogSpaceRewriter, operands: tuple[Operand, ...], size: Dim, node: int, depth: int
) -> Vector:
    # log σ(z) = −log(1 + e⁻ᶻ)
    negative = at.add_vector("negate", operands, size)
    return at.add_vector(
        "negate", (at.add_vector("softplus", (negative.operand,), size).operand,), size
    )


def _exp(
    at: _LogSpaceRewriter, operands: tuple[Operand, ...], size: Dim, node: int, depth: int
) -> Vector:
    return Vector(operands[0], size)


def _constant(
    at: _LogSpaceRewriter, operands: tuple[Operand, ...], size: Dim, node: int, depth: int
) -> Vector | None:
    (value,) = at.attributes_of(node)
    return at.add_vector("constant", (), size, (math.log(value),)) if value > 0 else None


def _slice(
    at: _LogSpaceRewriter, operands: tuple[Operand, ...], size: Dim, node: int, depth: int
) -> Vector | None:
    inner = at.rewrite(operands[0], depth)
    if inner is None:
        return None
    start, stop = (int(a) for a in at.attributes_of(node))
    present = inner.mask and at.slice_mask(inner.mask, start, stop, size)
    return at.add_vector("slice", (inner.operand,), size, (start, stop), present)


def _elementwise(operation: str) -> _RewriteRule:
    def rule(
        at: _LogSpaceRewriter, operands: tuple[Operand, ...], size: Dim, node: int, depth: int
    ) -> Vector | None:
        pair = at.rewrite_pair(operands, depth)
        if pair is None:
            return None
        present = at.intersect_masks(pair, size)
        if present and operation == "logaddexp":
            return None
        return at.add_vector(operation, (pair[0].operand, pair[1].operand), size, present=present)

    return rule


def _sum(
    at: _LogSpaceRewriter, operands: tuple[Operand, ...], size: Dim, node: int, depth: int
) -> Vector | None:
    inner = at.rewrite(operands[0], depth)
    return None if inner is None else at.logsumexp(inner)


def _dot(
    at: _LogSpaceRewriter, operands: tuple[Operand, ...], size: Dim, node: int, depth: int
) -> Vector | None:
    for a, b in (operands, operands[::-1]):
        if at.operation_of(b) != "matches":
            continue
        # b is 0 or 1: it chooses entries of a.
        inner = at.rewrite(a, depth)
        if inner is None:
            return None
        mask = b
        if inner.mask is not None:
            mask = at.add_vector("multiply", (inner.mask, b), inner.size).operand
        return at.logsumexp(Vector(inner.operand, inner.size, mask))
    pair = at.rewrite_pair(operands, depth)
    if pair is None or pair[0].mask or pair[1].mask:
        return None
    return at.logsumexp(at.add_vector("add", (pair[0].operand, pair[1].operand), pair[0].size))


def _mix(
    at: _LogSpaceRewriter, operands: tuple[Operand, ...], size: Dim, node: int, depth: int
) -> Vector | None:
    rows, weights = operands
    inner = at.rewrite(weights, depth) if at.has_symbol_rows(rows) else None
    if inner is None:
        return None
    mask = () if inner.mask is None else (inner.mask,)
    return at.add_vector("log_mix", (rows, inner.operand, *mask), size)


_REWRITE_RULES: dict[str, _RewriteRule] = {
    "softmax": _softmax,
    "masked_softmax": _softmax,
    "sigmoid": _sigmoid,
    "exp": _exp,
    "constant": _constant,
    "slice": _slice,
    "multiply": _elementwise("add"),
    "divide": _elementwise("subtract"),
    "add": _elementwise("logaddexp"),
    "sum": _sum,
    "dot": _dot,
    "mix": _mix,
}
