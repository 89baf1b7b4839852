"""Decompositions: composite operations rewritten into elementary ones."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

from rnnc.compiler.ir.builder import Builder
from rnnc.compiler.ir.dataflow import Operand
from rnnc.operators.graph.operator_graph import Node

EPSILON: Final = 1e-5


def _sum_entries(draft: Builder, z: Operand) -> Operand:
    n = draft.width(z)
    return z if n == 1 else draft.create("group_sum", z, attributes=(n,))


def mean_entries(draft: Builder, z: Operand) -> Operand:
    n = draft.width(z)
    return z if n == 1 else draft.create("multiply", _sum_entries(draft, z), draft.constant(1 / n))


def _softmax(draft: Builder, node: Node, operands: list[Operand]) -> Operand:
    # Taking the largest entry away changes no value and no gradient, so it counts as a constant.
    z = operands[0]
    largest = draft.create("group_max", z, attributes=(node.size,))
    e = draft.create("exp", draft.create("subtract", z, draft.create("stopgrad", largest)))
    return draft.create("divide", e, _sum_entries(draft, e), origin=node.id)


def _shifted_exponentials(
    draft: Builder, z: Operand, mask: Operand | None, n: int
) -> tuple[Operand, Operand]:
    """e^(z − top) where the mask is not 0, elsewhere 0; and the top, which counts as a constant."""
    zero, lowest = draft.constant(0.0), draft.constant(-math.inf)
    there = z if mask is None else draft.create("select", mask, z, lowest)
    top = there if n == 1 else draft.create("group_max", there, attributes=(n,))
    top = draft.create("stopgrad", top)
    # Of nothing but −∞ nothing is taken away.
    top = draft.create("select", draft.create("equal", top, lowest), zero, top)
    e = draft.create("exp", draft.create("subtract", there, top))
    return (e if mask is None else draft.create("select", mask, e, zero)), top


def _masked_softmax(draft: Builder, node: Node, operands: list[Operand]) -> Operand:
    e, _ = _shifted_exponentials(draft, operands[0], operands[1], node.size)
    total = _sum_entries(draft, e)
    # Whether it is zero, not whether it is positive: a NaN is neither, and must stay.
    nothing = draft.create("equal", total, draft.constant(0.0))
    whole = draft.create("select", nothing, draft.constant(1.0), total)
    return draft.create("divide", e, whole, origin=node.id)


def _logsumexp(draft: Builder, node: Node, operands: list[Operand]) -> Operand:
    n = max(draft.width(read) for read in operands)
    e, top = _shifted_exponentials(
        draft, operands[0], operands[1] if len(operands) > 1 else None, n
    )
    total = _sum_entries(draft, e)
    nothing = draft.create("equal", total, draft.constant(0.0))
    whole = draft.create("select", nothing, draft.constant(1.0), total)
    value = draft.create("add", draft.create("log", whole), top)
    return draft.create("select", nothing, draft.constant(-math.inf), value, origin=node.id)


def _dot(draft: Builder, node: Node, operands: list[Operand]) -> Operand:
    return _sum_entries(draft, draft.create("multiply", *operands, origin=node.id))


def _sum_op(draft: Builder, node: Node, operands: list[Operand]) -> Operand:
    return _sum_entries(draft, operands[0])


def _maxout(draft: Builder, node: Node, operands: list[Operand]) -> Operand:
    return draft.create("group_max", *operands, attributes=(int(node.attributes[0]),))


def _lp(draft: Builder, node: Node, operands: list[Operand]) -> Operand:
    z, rho = operands
    k = int(node.attributes[0])
    p = draft.create("add", draft.constant(1.0), draft.create("softplus", rho))
    wide = p if draft.width(p) == 1 else draft.create("spread", p, attributes=(k,))
    powers = draft.create("power", draft.create("abs", z), wide)
    total = draft.create("group_sum", powers, attributes=(k,))
    mean = draft.create("multiply", total, draft.constant(1 / k))
    inverse = draft.create("reciprocal", p)
    return draft.create("power", draft.create("at_least_tiny", mean), inverse, origin=node.id)


def _rms_normalize(draft: Builder, z: Operand) -> Operand:
    mean = mean_entries(draft, draft.create("square", z))
    root = draft.create("sqrt", draft.create("add", mean, draft.constant(EPSILON)))
    return draft.create("multiply", z, draft.create("reciprocal", root))


def _rmsnorm(draft: Builder, node: Node, operands: list[Operand]) -> Operand:
    z, g = operands
    return draft.create("multiply", g, _rms_normalize(draft, z), origin=node.id)


def _layernorm(draft: Builder, node: Node, operands: list[Operand]) -> Operand:
    z, g, b = operands
    centred = draft.create("subtract", z, mean_entries(draft, z))
    scaled = draft.create("multiply", g, _rms_normalize(draft, centred))
    return draft.create("add", scaled, b, origin=node.id)


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
