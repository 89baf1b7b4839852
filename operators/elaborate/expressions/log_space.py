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

from .scoped_builder import Shapes
from .windows import both_present, filled

DEPTH_LIMIT = 200
"""Operations inside operations that are looked through."""


def logarithm(shapes: Shapes, vector: Vector, span: Span) -> Vector:
    """The logarithm of a vector: term by term where every term has one, or the function `log`."""
    found = _Logarithms(shapes, span).of(vector.operand, DEPTH_LIMIT)
    if found is None:
        whole = filled(shapes, vector, span)
        return shapes.add("log", (whole.operand,), vector.size, span)
    return found


class _Logarithms:
    """The logarithms found while one expression is looked through; None for those that are not.

    A vector with `present` has the logarithm −∞ where it is 0.
    """

    def __init__(self, shapes: Shapes, span: Span) -> None:
        self._shapes, self._span = shapes, span
        self._known: dict[int, Vector | None] = {}

    def of(self, operand: Operand, depth: int) -> Vector | None:
        """The logarithm of a node's value, or None when it is not made of probabilities."""
        node = self._shapes.assembly.nodes[operand.node]
        rule = _RULES.get(node.operation)
        if operand.delay or rule is None or not depth:
            return None
        if operand.node not in self._known:
            self._known[operand.node] = rule(
                self, node.operands, node.size, operand.node, depth - 1
            )
        return self._known[operand.node]

    def add(
        self,
        operation: str,
        operands: tuple[Operand, ...],
        size: Dim,
        attributes: tuple[float, ...] = (),
        present: Operand | None = None,
    ) -> Vector:
        """A new value."""
        found = self._shapes.add(operation, operands, size, self._span, attributes)
        return Vector(found.operand, found.size, present)

    def attributes(self, node: int) -> tuple[float, ...]:
        """The constants of a node."""
        return tuple(float(a) for a in self._shapes.assembly.nodes[node].attributes)

    def operation(self, operand: Operand) -> str:
        """What computes a value."""
        return self._shapes.assembly.nodes[operand.node].operation

    def is_symbol(self, rows: Operand) -> bool:
        """Whether the rows of a window are symbols."""
        variable = self._shapes.assembly.nodes[rows.node].operands[0].node
        return variable in self._shapes.assembly.symbols

    def part(self, present: Operand, start: int, stop: int, size: Dim) -> Operand | None:
        """Where a slice has entries; None when it has them all."""
        shapes, at = self._shapes, 0
        node = shapes.assembly.nodes[present.node]
        for part in node.operands if node.operation == "concatenate" else ():
            inner = shapes.assembly.nodes[part.node]
            end = at + (shapes.sizes.value(inner.size) or 0)
            if at <= start and stop <= end and inner.operation == "constant":
                return None
            at = end
        return self.add("slice", (present,), size, (start, stop)).operand

    def present(self, pair: tuple[Vector, Vector], size: Dim) -> Operand | None:
        """Where both of two vectors have entries."""
        return both_present(self._shapes, list(pair), size, self._span)

    def total(self, vector: Vector) -> Vector:
        """The logarithm of Σ eᶻ."""
        mask = () if vector.present is None else (vector.present,)
        one = self._shapes.sizes.known(1)
        return self.add("logsumexp", (vector.operand, *mask), one)

    def both(self, operands: tuple[Operand, ...], depth: int) -> tuple[Vector, Vector] | None:
        """The logarithms of two operands."""
        a, b = (self.of(operand, depth) for operand in operands)
        return None if a is None or b is None else (a, b)


_Rule = Callable[[_Logarithms, tuple[Operand, ...], Dim, int, int], "Vector | None"]


def _softmax(
    at: _Logarithms, operands: tuple[Operand, ...], size: Dim, node: int, depth: int
) -> Vector:
    present = operands[1] if len(operands) > 1 else None
    total = at.total(Vector(operands[0], size, present))
    return at.add("subtract", (operands[0], total.operand), size, present=present)


def _sigmoid(
    at: _Logarithms, operands: tuple[Operand, ...], size: Dim, node: int, depth: int
) -> Vector:
    # log σ(z) = −log(1 + e⁻ᶻ)
    negative = at.add("negate", operands, size)
    return at.add("negate", (at.add("softplus", (negative.operand,), size).operand,), size)


def _exp(
    at: _Logarithms, operands: tuple[Operand, ...], size: Dim, node: int, depth: int
) -> Vector:
    return Vector(operands[0], size)


def _constant(
    at: _Logarithms, operands: tuple[Operand, ...], size: Dim, node: int, depth: int
) -> Vector | None:
    (value,) = at.attributes(node)
    return at.add("constant", (), size, (math.log(value),)) if value > 0 else None


def _slice(
    at: _Logarithms, operands: tuple[Operand, ...], size: Dim, node: int, depth: int
) -> Vector | None:
    inner = at.of(operands[0], depth)
    if inner is None:
        return None
    start, stop = (int(a) for a in at.attributes(node))
    present = inner.present and at.part(inner.present, start, stop, size)
    return at.add("slice", (inner.operand,), size, (start, stop), present)


def _elementwise(operation: str) -> _Rule:
    def rule(
        at: _Logarithms, operands: tuple[Operand, ...], size: Dim, node: int, depth: int
    ) -> Vector | None:
        pair = at.both(operands, depth)
        if pair is None:
            return None
        present = at.present(pair, size)
        if present and operation == "logaddexp":
            return None
        return at.add(operation, (pair[0].operand, pair[1].operand), size, present=present)

    return rule


def _sum(
    at: _Logarithms, operands: tuple[Operand, ...], size: Dim, node: int, depth: int
) -> Vector | None:
    inner = at.of(operands[0], depth)
    return None if inner is None else at.total(inner)


def _dot(
    at: _Logarithms, operands: tuple[Operand, ...], size: Dim, node: int, depth: int
) -> Vector | None:
    for a, b in (operands, operands[::-1]):
        if at.operation(b) != "matches":
            continue
        # b is 0 or 1: it chooses entries of a.
        inner = at.of(a, depth)
        if inner is None:
            return None
        mask = b
        if inner.present is not None:
            mask = at.add("multiply", (inner.present, b), inner.size).operand
        return at.total(Vector(inner.operand, inner.size, mask))
    pair = at.both(operands, depth)
    if pair is None or pair[0].present or pair[1].present:
        return None
    return at.total(at.add("add", (pair[0].operand, pair[1].operand), pair[0].size))


def _mix(
    at: _Logarithms, operands: tuple[Operand, ...], size: Dim, node: int, depth: int
) -> Vector | None:
    rows, weights = operands
    inner = at.of(weights, depth) if at.is_symbol(rows) else None
    if inner is None:
        return None
    mask = () if inner.present is None else (inner.present,)
    return at.add("log_mix", (rows, inner.operand, *mask), size)


_RULES: dict[str, _Rule] = {
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
