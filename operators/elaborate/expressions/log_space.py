"""Rewrite `log` of probabilities term by term in log space, so that nothing underflows.

The mixture `log(g * softmax(V h + b) + Xᵀ a)` is a sum of exponentials: factors become summands,
sums become log-sum-exp. In float32 a probability of e⁻²⁰⁰ is 0, and its logarithm −200 is not.
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
"""Maximal nesting of operations that are rewritten, a bound on recursion."""


def logarithm(builder: ScopedBuilder, vector: Vector, span: Span) -> Vector:
    """Return the logarithm of a vector: rewritten if all its terms allow it, else `log`."""
    rewritten = _LogSpaceRewriter(builder, span).rewrite(vector.operand, LOG_DEPTH_LIMIT)
    if rewritten is None:
        filled = fill_missing(builder, vector, span)
        return builder.add_vector("log", (filled.operand,), vector.size, span)
    return rewritten


class _LogSpaceRewriter:
    """Logarithms of the values of one expression; None for those without a rewriting.

    A vector has the logarithm −∞ where its mask is 0.
    """

    def __init__(self, shapes: ScopedBuilder, span: Span) -> None:
        self._builder, self._span = shapes, span
        self._rewritten: dict[int, Vector | None] = {}

    def rewrite(self, operand: Operand, depth: int) -> Vector | None:
        """Return the logarithm of a node's value, or None if it is no probability."""
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
        mask: Operand | None = None,
    ) -> Vector:
        vector = self._builder.add_vector(operation, operands, size, self._span, attributes)
        return Vector(vector.operand, vector.size, mask)

    def attributes_of(self, node: int) -> tuple[float, ...]:
        """Return the constants of a node."""
        return tuple(float(a) for a in self._builder.builder.nodes[node].attributes)

    def operation_of(self, operand: Operand) -> str:
        """Return the operation that computes a value."""
        return self._builder.builder.nodes[operand.node].operation

    def has_symbol_rows(self, rows: Operand) -> bool:
        """Return true if the rows of a window are symbols."""
        variable = self._builder.builder.nodes[rows.node].operands[0].node
        return variable in self._builder.builder.symbol_nodes

    def slice_mask(self, mask: Operand, start: int, stop: int, size: Dim) -> Operand | None:
        """Return the mask of a slice; None if the slice has all its entries."""
        shapes, offset = self._builder, 0
        node = shapes.builder.nodes[mask.node]
        for part in node.operands if node.operation == "concatenate" else ():
            inner = shapes.builder.nodes[part.node]
            end = offset + (shapes.sizes.value(inner.size) or 0)
            if offset <= start and stop <= end and inner.operation == "constant":
                return None
            offset = end
        return self.add_vector("slice", (mask,), size, (start, stop)).operand

    def intersect_masks(self, pair: tuple[Vector, Vector], size: Dim) -> Operand | None:
        """Return the mask of the entries that both vectors have."""
        return intersect_masks(self._builder, list(pair), size, self._span)

    def logsumexp(self, vector: Vector) -> Vector:
        """Return the logarithm of Σ eᶻ."""
        mask = () if vector.mask is None else (vector.mask,)
        one = self._builder.sizes.constant(1)
        return self.add_vector("logsumexp", (vector.operand, *mask), one)

    def rewrite_pair(
        self, operands: tuple[Operand, ...], depth: int
    ) -> tuple[Vector, Vector] | None:
        """Return the logarithms of two operands, or None if one has none."""
        a, b = (self.rewrite(operand, depth) for operand in operands)
        return None if a is None or b is None else (a, b)


_RewriteRule = Callable[[_LogSpaceRewriter, tuple[Operand, ...], Dim, int, int], "Vector | None"]


def _softmax(
    rewriter: _LogSpaceRewriter, operands: tuple[Operand, ...], size: Dim, node: int, depth: int
) -> Vector:
    mask = operands[1] if len(operands) > 1 else None
    log_total = rewriter.logsumexp(Vector(operands[0], size, mask))
    return rewriter.add_vector("subtract", (operands[0], log_total.operand), size, mask=mask)


def _sigmoid(
    rewriter: _LogSpaceRewriter, operands: tuple[Operand, ...], size: Dim, node: int, depth: int
) -> Vector:
    # log σ(z) = −log(1 + e⁻ᶻ)
    negated = rewriter.add_vector("negate", operands, size)
    return rewriter.add_vector(
        "negate", (rewriter.add_vector("softplus", (negated.operand,), size).operand,), size
    )


def _exp(
    rewriter: _LogSpaceRewriter, operands: tuple[Operand, ...], size: Dim, node: int, depth: int
) -> Vector:
    return Vector(operands[0], size)


def _constant(
    rewriter: _LogSpaceRewriter, operands: tuple[Operand, ...], size: Dim, node: int, depth: int
) -> Vector | None:
    (value,) = rewriter.attributes_of(node)
    return rewriter.add_vector("constant", (), size, (math.log(value),)) if value > 0 else None


def _slice(
    rewriter: _LogSpaceRewriter, operands: tuple[Operand, ...], size: Dim, node: int, depth: int
) -> Vector | None:
    inner = rewriter.rewrite(operands[0], depth)
    if inner is None:
        return None
    start, stop = (int(a) for a in rewriter.attributes_of(node))
    mask = inner.mask and rewriter.slice_mask(inner.mask, start, stop, size)
    return rewriter.add_vector("slice", (inner.operand,), size, (start, stop), mask)


def _elementwise(operation: str) -> _RewriteRule:
    def rule(
        rewriter: _LogSpaceRewriter, operands: tuple[Operand, ...], size: Dim, node: int, depth: int
    ) -> Vector | None:
        pair = rewriter.rewrite_pair(operands, depth)
        if pair is None:
            return None
        mask = rewriter.intersect_masks(pair, size)
        if mask and operation == "logaddexp":
            return None
        return rewriter.add_vector(operation, (pair[0].operand, pair[1].operand), size, mask=mask)

    return rule


def _sum(
    rewriter: _LogSpaceRewriter, operands: tuple[Operand, ...], size: Dim, node: int, depth: int
) -> Vector | None:
    inner = rewriter.rewrite(operands[0], depth)
    return None if inner is None else rewriter.logsumexp(inner)


def _dot(
    rewriter: _LogSpaceRewriter, operands: tuple[Operand, ...], size: Dim, node: int, depth: int
) -> Vector | None:
    for a, b in (operands, operands[::-1]):
        if rewriter.operation_of(b) != "matches":
            continue
        # b is 0 or 1: it selects entries of a.
        inner = rewriter.rewrite(a, depth)
        if inner is None:
            return None
        mask = b
        if inner.mask is not None:
            mask = rewriter.add_vector("multiply", (inner.mask, b), inner.size).operand
        return rewriter.logsumexp(Vector(inner.operand, inner.size, mask))
    pair = rewriter.rewrite_pair(operands, depth)
    if pair is None or pair[0].mask or pair[1].mask:
        return None
    return rewriter.logsumexp(
        rewriter.add_vector("add", (pair[0].operand, pair[1].operand), pair[0].size)
    )


def _mix(
    rewriter: _LogSpaceRewriter, operands: tuple[Operand, ...], size: Dim, node: int, depth: int
) -> Vector | None:
    rows, weights = operands
    inner = rewriter.rewrite(weights, depth) if rewriter.has_symbol_rows(rows) else None
    if inner is None:
        return None
    mask = () if inner.mask is None else (inner.mask,)
    return rewriter.add_vector("log_mix", (rows, inner.operand, *mask), size)


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
