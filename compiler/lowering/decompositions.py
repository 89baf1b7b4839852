"""Decompositions: composite operations rewritten into elementary ones."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

from rnnc.compiler.ir.builder import Draft
from rnnc.compiler.ir.dataflow import Read
from rnnc.operators.graph.operator_graph import Node

EPSILON: Final = 1e-5


def _sum(draft: Draft, z: Read) -> Read:
    n = draft.width(z)
    return z if n == 1 else draft.add("group_sum", z, attributes=(n,))


def _mean(draft: Draft, z: Read) -> Read:
    n = draft.width(z)
    return z if n == 1 else draft.add("multiply", _sum(draft, z), draft.constant(1 / n))


def _softmax(draft: Draft, node: Node, operands: list[Read]) -> Read:
    # Taking the largest entry away changes no value and no gradient, so it counts as a constant.
    z = operands[0]
    largest = draft.add("group_max", z, attributes=(node.size,))
    e = draft.add("exp", draft.add("subtract", z, draft.add("stopgrad", largest)))
    return draft.add("divide", e, _sum(draft, e), origin=node.number)


def _terms(draft: Draft, z: Read, mask: Read | None, n: int) -> tuple[Read, Read]:
    """e^(z − top) where the mask is not 0, elsewhere 0; and the top, which counts as a constant."""
    zero, lowest = draft.constant(0.0), draft.constant(-math.inf)
    there = z if mask is None else draft.add("select", mask, z, lowest)
    top = there if n == 1 else draft.add("group_max", there, attributes=(n,))
    top = draft.add("stopgrad", top)
    # Of nothing but −∞ nothing is taken away.
    top = draft.add("select", draft.add("equal", top, lowest), zero, top)
    e = draft.add("exp", draft.add("subtract", there, top))
    return (e if mask is None else draft.add("select", mask, e, zero)), top


def _masked_softmax(draft: Draft, node: Node, operands: list[Read]) -> Read:
    e, _ = _terms(draft, operands[0], operands[1], node.size)
    total = _sum(draft, e)
    # Whether it is zero, not whether it is positive: a NaN is neither, and must stay.
    nothing = draft.add("equal", total, draft.constant(0.0))
    whole = draft.add("select", nothing, draft.constant(1.0), total)
    return draft.add("divide", e, whole, origin=node.number)


def _logsumexp(draft: Draft, node: Node, operands: list[Read]) -> Read:
    n = max(draft.width(read) for read in operands)
    e, top = _terms(draft, operands[0], operands[1] if len(operands) > 1 else None, n)
    total = _sum(draft, e)
    nothing = draft.add("equal", total, draft.constant(0.0))
    whole = draft.add("select", nothing, draft.constant(1.0), total)
    value = draft.add("add", draft.add("log", whole), top)
    return draft.add("select", nothing, draft.constant(-math.inf), value, origin=node.number)


def _dot(draft: Draft, node: Node, operands: list[Read]) -> Read:
    return _sum(draft, draft.add("multiply", *operands, origin=node.number))


def _total(draft: Draft, node: Node, operands: list[Read]) -> Read:
    return _sum(draft, operands[0])


def _maxout(draft: Draft, node: Node, operands: list[Read]) -> Read:
    return draft.add("group_max", *operands, attributes=(int(node.attributes[0]),))


def _lp(draft: Draft, node: Node, operands: list[Read]) -> Read:
    z, rho = operands
    k = int(node.attributes[0])
    p = draft.add("add", draft.constant(1.0), draft.add("softplus", rho))
    wide = p if draft.width(p) == 1 else draft.add("spread", p, attributes=(k,))
    powers = draft.add("power", draft.add("abs", z), wide)
    total = draft.add("group_sum", powers, attributes=(k,))
    mean = draft.add("multiply", total, draft.constant(1 / k))
    inverse = draft.add("reciprocal", p)
    return draft.add("power", draft.add("at_least_tiny", mean), inverse, origin=node.number)


def _normalised(draft: Draft, z: Read) -> Read:
    mean = _mean(draft, draft.add("square", z))
    root = draft.add("sqrt", draft.add("add", mean, draft.constant(EPSILON)))
    return draft.add("multiply", z, draft.add("reciprocal", root))


def _rmsnorm(draft: Draft, node: Node, operands: list[Read]) -> Read:
    z, g = operands
    return draft.add("multiply", g, _normalised(draft, z), origin=node.number)


def _layernorm(draft: Draft, node: Node, operands: list[Read]) -> Read:
    z, g, b = operands
    centred = draft.add("subtract", z, _mean(draft, z))
    scaled = draft.add("multiply", g, _normalised(draft, centred))
    return draft.add("add", scaled, b, origin=node.number)


_COMPOSITE: Final[dict[str, Callable[[Draft, Node, list[Read]], Read]]] = {
    "softmax": _softmax,
    "masked_softmax": _masked_softmax,
    "logsumexp": _logsumexp,
    "dot": _dot,
    "sum": _total,
    "maxout": _maxout,
    "lp": _lp,
    "rmsnorm": _rmsnorm,
    "layernorm": _layernorm,
}
