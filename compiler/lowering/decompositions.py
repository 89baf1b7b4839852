"""Decompositions of composite operations into elementary ones, a function an operation.

Exponents are shifted and divisors chosen so that no infinity reaches a gradient, even where
entries are masked out.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

from rnnc.compiler.ir.builder import Builder
from rnnc.compiler.ir.dataflow import Operand
from rnnc.operators.graph.operator_graph import Node

EPSILON: Final = 1e-5
"""Added to the mean square that a norm divides by: the default of torch.nn.LayerNorm."""


def mean_entries(builder: Builder, z: Operand) -> Operand:
    """Create the mean over the entries of a vector."""
    n = builder.width(z)
    if n == 1:
        return z
    return builder.create("multiply", _sum_entries(builder, z), builder.constant(1 / n))


def _sum_entries(builder: Builder, z: Operand) -> Operand:
    n = builder.width(z)
    return z if n == 1 else builder.create("group_sum", z, attributes=(n,))


def _softmax(builder: Builder, node: Node, operands: list[Operand]) -> Operand:
    # Subtracting the largest entry changes neither value nor gradient: it may be a constant.
    z = operands[0]
    largest = builder.create("group_max", z, attributes=(node.size,))
    e = builder.create("exp", builder.create("subtract", z, builder.create("stopgrad", largest)))
    return builder.create("divide", e, _sum_entries(builder, e), origin=node.id)


def _shifted_exponentials(
    builder: Builder, z: Operand, mask: Operand | None, n: int
) -> tuple[Operand, Operand]:
    """Return e^(z − top), 0 where the mask is 0, and top, the largest entry as a constant."""
    zero, lowest = builder.constant(0.0), builder.constant(-math.inf)
    masked = z if mask is None else builder.create("select", mask, z, lowest)
    top = masked if n == 1 else builder.create("group_max", masked, attributes=(n,))
    top = builder.create("stopgrad", top)
    # If all entries are −∞, subtracting the largest would give NaN.
    top = builder.create("select", builder.create("equal", top, lowest), zero, top)
    e = builder.create("exp", builder.create("subtract", masked, top))
    return (e if mask is None else builder.create("select", mask, e, zero)), top


def _masked_softmax(builder: Builder, node: Node, operands: list[Operand]) -> Operand:
    e, _ = _shifted_exponentials(builder, operands[0], operands[1], node.size)
    _, divisor = _nonzero(builder, _sum_entries(builder, e))
    return builder.create("divide", e, divisor, origin=node.id)


def _logsumexp(builder: Builder, node: Node, operands: list[Operand]) -> Operand:
    n = max(builder.width(operand) for operand in operands)
    mask = operands[1] if len(operands) > 1 else None
    e, top = _shifted_exponentials(builder, operands[0], mask, n)
    is_zero, total = _nonzero(builder, _sum_entries(builder, e))
    value = builder.create("add", builder.create("log", total), top)
    return builder.create("select", is_zero, builder.constant(-math.inf), value, origin=node.id)


def _nonzero(builder: Builder, total: Operand) -> tuple[Operand, Operand]:
    """Return where a total is 0, and the total with 1 in these places."""
    # Compared with 0, not tested for being positive: NaN is neither, and must stay.
    is_zero = builder.create("equal", total, builder.constant(0.0))
    return is_zero, builder.create("select", is_zero, builder.constant(1.0), total)


def _dot(builder: Builder, node: Node, operands: list[Operand]) -> Operand:
    return _sum_entries(builder, builder.create("multiply", *operands, origin=node.id))


def _sum_op(builder: Builder, node: Node, operands: list[Operand]) -> Operand:
    return _sum_entries(builder, operands[0])


def _maxout(builder: Builder, node: Node, operands: list[Operand]) -> Operand:
    return builder.create("group_max", *operands, attributes=(int(node.attributes[0]),))


def _lp(builder: Builder, node: Node, operands: list[Operand]) -> Operand:
    # Gulcehre et al. 2014: (1/k Σ |zᵢ|^p)^(1/p) with p = 1 + softplus(rho).
    z, rho = operands
    k = int(node.attributes[0])
    p = builder.create("add", builder.constant(1.0), builder.create("softplus", rho))
    exponents = p if builder.width(p) == 1 else builder.create("spread", p, attributes=(k,))
    powers = builder.create("power", builder.create("abs", z), exponents)
    total = builder.create("group_sum", powers, attributes=(k,))
    mean = builder.create("multiply", total, builder.constant(1 / k))
    inverse = builder.create("reciprocal", p)
    return builder.create("power", builder.create("at_least_tiny", mean), inverse, origin=node.id)


def _rms_normalize(builder: Builder, z: Operand) -> Operand:
    mean = mean_entries(builder, builder.create("square", z))
    root = builder.create("sqrt", builder.create("add", mean, builder.constant(EPSILON)))
    return builder.create("multiply", z, builder.create("reciprocal", root))


def _rmsnorm(builder: Builder, node: Node, operands: list[Operand]) -> Operand:
    z, g = operands
    return builder.create("multiply", g, _rms_normalize(builder, z), origin=node.id)


def _layernorm(builder: Builder, node: Node, operands: list[Operand]) -> Operand:
    z, g, b = operands
    centered = builder.create("subtract", z, mean_entries(builder, z))
    scaled = builder.create("multiply", g, _rms_normalize(builder, centered))
    return builder.create("add", scaled, b, origin=node.id)


DECOMPOSITIONS: Final[dict[str, Callable[[Builder, Node, list[Operand]], Operand]]] = {
    "softmax": _softmax,
    "masked_softmax": _masked_softmax,
    "logsumexp": _logsumexp,
    "dot": _dot,
    "sum": _sum_op,
    "maxout": _maxout,
    "lp": _lp,
    "rmsnorm": _rmsnorm,
    "layernorm": _layernorm,
}
"""The decomposition of each composite operation: (builder, node, operands) -> its value."""
