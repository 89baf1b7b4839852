"""VJP rules: the cotangents of each operation's operands, from that of its result.

Reverse mode (`reverse_mode.py`) calls a rule with the result y, the operands and the cotangent g of
y; the rule creates its results in the same IR. The caller sums over broadcast entries.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Protocol

from rnnc.compiler.ir.dataflow import Operand
from rnnc.operators.graph.operator_graph import Attribute

Attributes = tuple[Attribute, ...]
Operands = Sequence[Operand]
Cotangents = Sequence[Operand | None]
"""One for each operand; None where no gradient flows."""


class VjpBuilder(Protocol):
    """The builder that rules create adjoint values with."""

    def create(self, operation: str, *operands: Operand, attributes: Attributes = ()) -> Operand:
        """Create a value, or return the one that the same arguments created before."""

    def constant(self, value: float) -> Operand:
        """Create a constant of width 1."""

    def width(self, value: Operand) -> int:
        """Return the width of a vector."""

    def shape(self, value: Operand) -> tuple[int, ...]:
        """Return the shape of a vector or matrix; () for a symbol."""

    def shift(self, value: Operand, steps: int) -> Operand:
        """Return the value so many steps later; itself if it is the same at all steps."""


VjpRule = Callable[[VjpBuilder, Operand, Operands, Operand, Attributes], Cotangents]
"""(ir, y, operands, g, attributes) -> the operands' cotangents."""

ElementwiseDerivative = Callable[[VjpBuilder, Operand, Operand], Operand]
"""(ir, z, y) -> dy/dz."""


def _elementwise_vjp(derivative: ElementwiseDerivative) -> VjpRule:
    def rule(
        ir: VjpBuilder, y: Operand, operands: Operands, g: Operand, attributes: Attributes
    ) -> Cotangents:
        return (ir.create("multiply", g, derivative(ir, operands[0], y)),)

    return rule


def _leaky_relu_derivative(ir: VjpBuilder, z: Operand, y: Operand) -> Operand:
    return ir.create("select", ir.create("positive", z), ir.constant(1.0), ir.constant(0.01))


def _elu_derivative(ir: VjpBuilder, z: Operand, y: Operand) -> Operand:
    above = ir.constant(1.0)
    return ir.create(
        "select", ir.create("positive", z), above, ir.create("add", y, ir.constant(1.0))
    )


def _silu_derivative(ir: VjpBuilder, z: Operand, y: Operand) -> Operand:
    # d(z s)/dz = s + z s (1 - s) = s + y (1 - s)
    s = ir.create("sigmoid", z)
    return ir.create("add", s, ir.create("multiply", y, ir.create("one_minus", s)))


ELEMENTWISE_DERIVATIVES: Final[dict[str, ElementwiseDerivative]] = {
    "tanh": lambda ir, z, y: ir.create("one_minus", ir.create("square", y)),
    "sigmoid": lambda ir, z, y: ir.create("multiply", y, ir.create("one_minus", y)),
    "relu": lambda ir, z, y: ir.create("positive", z),
    "leaky_relu": _leaky_relu_derivative,
    "elu": _elu_derivative,
    "gelu": lambda ir, z, y: ir.create("gelu_slope", z),
    "silu": _silu_derivative,
    "softplus": lambda ir, z, y: ir.create("softplus_slope", z),
    "softsign": lambda ir, z, y: ir.create("square", ir.create("one_minus", ir.create("abs", y))),
    "exp": lambda ir, z, y: y,
    "log": lambda ir, z, y: ir.create("reciprocal", z),
    "abs": lambda ir, z, y: ir.create("sign", z),
    "sqrt": lambda ir, z, y: ir.create("divide", ir.constant(0.5), y),
    "sin": lambda ir, z, y: ir.create("cos", z),
    "cos": lambda ir, z, y: ir.create("negate", ir.create("sin", z)),
    "square": lambda ir, z, y: ir.create("multiply", ir.constant(2.0), z),
    "reciprocal": lambda ir, z, y: ir.create("negate", ir.create("square", y)),
    "at_least_tiny": lambda ir, z, y: ir.create("equal", z, y),
}
"""f'(z) of each elementwise y = f(z), from z and y."""


def _add_vjp(
    ir: VjpBuilder, y: Operand, operands: Operands, g: Operand, attributes: Attributes
) -> Cotangents:
    return [g for _ in operands]


def _multiply_vjp(
    ir: VjpBuilder, y: Operand, operands: Operands, g: Operand, attributes: Attributes
) -> Cotangents:
    cotangents: list[Operand] = []
    for index in range(len(operands)):
        others = [other for i, other in enumerate(operands) if i != index]
        cotangents.append(ir.create("multiply", g, *others))
    return cotangents


def _divide_vjp(
    ir: VjpBuilder, y: Operand, operands: Operands, g: Operand, attributes: Attributes
) -> Cotangents:
    # d(a/b) = da / b - (a/b) db / b
    inverse = ir.create("reciprocal", operands[1])
    return (
        ir.create("multiply", g, inverse),
        ir.create("multiply", g, ir.create("negate", ir.create("multiply", y, inverse))),
    )


def _power_vjp(
    ir: VjpBuilder, y: Operand, operands: Operands, g: Operand, attributes: Attributes
) -> Cotangents:
    # d(a^b) = b a^(b-1) da + a^b log a db, the second 0 at a = 0
    a, b = operands
    below = ir.create("power", a, ir.create("subtract", b, ir.constant(1.0)))
    return (
        ir.create("multiply", g, ir.create("multiply", b, below)),
        ir.create("multiply", g, ir.create("x_log_y", y, a)),
    )


def _select_vjp(
    ir: VjpBuilder, y: Operand, operands: Operands, g: Operand, attributes: Attributes
) -> Cotangents:
    zero = ir.constant(0.0)
    condition = operands[0]
    return (
        None,
        ir.create("select", condition, g, zero),
        ir.create("select", condition, zero, g),
    )


def _matmul_vjp(
    ir: VjpBuilder, y: Operand, operands: Operands, g: Operand, attributes: Attributes
) -> Cotangents:
    # y = W v: dv = Wᵀ g and dW = g vᵀ
    weight, vector = operands
    transposed = bool(attributes[0])
    pair = (vector, g) if transposed else (g, vector)
    shape = ir.shape(weight)
    blocks: tuple[Attribute, ...] = (shape[0],) if len(shape) == 3 else ()
    return (
        ir.create("outer_sum", *pair, attributes=blocks),
        ir.create("matmul", weight, g, attributes=(not transposed,)),
    )


def _lookup_vjp(
    ir: VjpBuilder, y: Operand, operands: Operands, g: Operand, attributes: Attributes
) -> Cotangents:
    weight, symbol = operands
    shape = ir.shape(weight)
    return ir.create("indexed_sum", g, symbol, attributes=(attributes[0], *shape)), None


def _concatenate_vjp(
    ir: VjpBuilder, y: Operand, operands: Operands, g: Operand, attributes: Attributes
) -> Cotangents:
    cotangents: list[Operand] = []
    start = 0
    for operand in operands:
        stop = start + ir.width(operand)
        cotangents.append(ir.create("slice", g, attributes=(start, stop)))
        start = stop
    return cotangents


def _stack_vjp(
    ir: VjpBuilder, y: Operand, operands: Operands, g: Operand, attributes: Attributes
) -> Cotangents:
    axis = int(attributes[0])
    cotangents: list[Operand] = []
    start = 0
    for operand in operands:
        stop = start + ir.shape(operand)[axis]
        cotangents.append(ir.create("cut", g, attributes=(axis, start, stop)))
        start = stop
    return cotangents


def _slice_vjp(
    ir: VjpBuilder, y: Operand, operands: Operands, g: Operand, attributes: Attributes
) -> Cotangents:
    return (ir.create("pad", g, attributes=(attributes[0], ir.width(operands[0]))),)


def _group_max_vjp(
    ir: VjpBuilder, y: Operand, operands: Operands, g: Operand, attributes: Attributes
) -> Cotangents:
    # Equally large entries share the gradient in equal parts, as in torch.amax.
    k = attributes
    is_largest = ir.create("equal", operands[0], ir.create("spread", y, attributes=k))
    share = ir.create("reciprocal", ir.create("group_sum", is_largest, attributes=k))
    weights = ir.create("multiply", is_largest, ir.create("spread", share, attributes=k))
    return (ir.create("multiply", ir.create("spread", g, attributes=k), weights),)


def _scatter_window(ir: VjpBuilder, weights: Operand, vector: Operand, ends: Attributes) -> Operand:
    """Create the cotangent of a window's variable: Σ weightsᵢ vector where it is row i."""
    first, last = (int(end) for end in ends)
    return ir.create(
        "unmix",
        *(ir.shift(weights, last), ir.shift(weights, first)),
        *(ir.shift(vector, last), ir.shift(vector, first)),
        attributes=ends,
    )


def _scores_vjp(
    ir: VjpBuilder, y: Operand, operands: Operands, g: Operand, attributes: Attributes
) -> Cotangents:
    # yᵢ = rowᵢ · q: dq = Σ gᵢ rowᵢ, drowᵢ = gᵢ q
    v, end, q = operands
    n = ir.width(q)
    rows = None if ir.shape(v) == () else _scatter_window(ir, g, q, attributes)
    return rows, None, ir.create("mix", v, end, g, attributes=(*attributes, n))


def _mix_vjp(
    ir: VjpBuilder, y: Operand, operands: Operands, g: Operand, attributes: Attributes
) -> Cotangents:
    # y = Σ aᵢ rowᵢ: daᵢ = rowᵢ · g, drowᵢ = aᵢ g
    v, end, a = operands
    ends = attributes[:2]
    rows = None if ir.shape(v) == () else _scatter_window(ir, a, g, ends)
    return rows, None, ir.create("scores", v, end, g, attributes=ends)


def _log_mix_vjp(
    ir: VjpBuilder, y: Operand, operands: Operands, g: Operand, attributes: Attributes
) -> Cotangents:
    # y = log Σ e^lᵢ rowᵢ: dlᵢ = (g at rowᵢ's symbol) e^(lᵢ − y there)
    v, end, logs, mask = operands
    ends = attributes[:2]
    share = ir.create("shares", v, end, logs, y, mask, attributes=ends)
    at_symbols = ir.create("scores", v, end, g, attributes=ends)
    return None, None, ir.create("multiply", at_symbols, share), None


def _logaddexp_vjp(
    ir: VjpBuilder, y: Operand, operands: Operands, g: Operand, attributes: Attributes
) -> Cotangents:
    # d log(eᵃ + eᵇ) = e^(a − y) da + e^(b − y) db
    return [
        ir.create("multiply", g, ir.create("exp", ir.create("subtract", operand, y)))
        for operand in operands
    ]


VJP_RULES: Final[dict[str, VjpRule]] = {
    name: _elementwise_vjp(derivative) for name, derivative in ELEMENTWISE_DERIVATIVES.items()
} | {
    "add": _add_vjp,
    "subtract": lambda ir, y, operands, g, attributes: (g, ir.create("negate", g)),
    "multiply": _multiply_vjp,
    "divide": _divide_vjp,
    "negate": lambda ir, y, operands, g, attributes: (ir.create("negate", g),),
    "one_minus": lambda ir, y, operands, g, attributes: (ir.create("negate", g),),
    "power": _power_vjp,
    "select": _select_vjp,
    "matmul": _matmul_vjp,
    "lookup": _lookup_vjp,
    "concatenate": _concatenate_vjp,
    "stack": _stack_vjp,
    "slice": _slice_vjp,
    "spread": lambda ir, y, operands, g, attributes: (
        ir.create("group_sum", g, attributes=attributes),
    ),
    "group_sum": lambda ir, y, operands, g, attributes: (
        ir.create("spread", g, attributes=attributes),
    ),
    "group_max": _group_max_vjp,
    "state": lambda ir, y, operands, g, attributes: (g,),
    "scores": _scores_vjp,
    "mix": _mix_vjp,
    "log_mix": _log_mix_vjp,
    "logaddexp": _logaddexp_vjp,
}
"""The rule of every differentiable operation."""

NON_DIFFERENTIABLE_OPS: Final = frozenset(
    {"stopgrad", "onehot", "positive", "sign", "equal", "matches"}
)
"""Operations whose result is a constant to the derivative."""
