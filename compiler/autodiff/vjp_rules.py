"""The derivative of every elementary operation: what an operand's gradient gains.

A rule gets the operation's result y, its operands and the gradient g of y, and says, in the same
operations, what the gradient of each operand gains. Widths of one that were broadcast are summed
by the caller (`rnnc.compiler.autodiff.reverse_mode`), as are vectors of parameters over time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

from rnnc.operators.graph.operator_graph import Attribute


class VjpBuilder(Protocol):
    """Makes values; those that it takes and gives are its own (`Any` here)."""

    def create(self, operation: str, *operands: Any, attributes: tuple[Attribute, ...] = ()) -> Any:
        """A value of an operation."""

    def constant(self, value: float) -> Any:
        """A constant."""

    def width(self, value: Any) -> int:
        """The width of a vector."""

    def shape(self, value: Any) -> tuple[int, ...]:
        """The shape of a vector or matrix; () for a symbol."""

    def shift(self, value: Any, steps: int) -> Any:
        """The value so many steps later; itself where it is the same at all steps."""


VjpRule = Callable[
    [VjpBuilder, Any, Sequence[Any], Any, tuple[Attribute, ...]], Sequence[Any | None]
]
"""(maker, y, operands, g, attributes) -> what each operand's gradient gains, None for nothing."""

ElementwiseDerivative = Callable[[VjpBuilder, Any, Any], Any]
"""(maker, z, y) -> dy/dz."""


def _elementwise_vjp(slope: ElementwiseDerivative) -> VjpRule:
    def rule(
        m: VjpBuilder, y: Any, operands: Sequence[Any], g: Any, attributes: tuple[Attribute, ...]
    ) -> Sequence[Any | None]:
        return (m.create("multiply", g, slope(m, operands[0], y)),)

    return rule


def _leaky_relu_derivative(m: VjpBuilder, z: Any, y: Any) -> Any:
    return m.create("select", m.create("positive", z), m.constant(1.0), m.constant(0.01))


def _elu_derivative(m: VjpBuilder, z: Any, y: Any) -> Any:
    above = m.constant(1.0)
    return m.create("select", m.create("positive", z), above, m.create("add", y, m.constant(1.0)))


def _silu_derivative(m: VjpBuilder, z: Any, y: Any) -> Any:
    # d(z s)/dz = s + z s (1 - s) = s + y (1 - s)
    s = m.create("sigmoid", z)
    return m.create("add", s, m.create("multiply", y, m.create("one_minus", s)))


ELEMENTWISE_DERIVATIVES: Final[dict[str, ElementwiseDerivative]] = {
    "tanh": lambda m, z, y: m.create("one_minus", m.create("square", y)),
    "sigmoid": lambda m, z, y: m.create("multiply", y, m.create("one_minus", y)),
    "relu": lambda m, z, y: m.create("positive", z),
    "leaky_relu": _leaky_relu_derivative,
    "elu": _elu_derivative,
    "gelu": lambda m, z, y: m.create("gelu_slope", z),
    "silu": _silu_derivative,
    "softplus": lambda m, z, y: m.create("softplus_slope", z),
    "softsign": lambda m, z, y: m.create("square", m.create("one_minus", m.create("abs", y))),
    "exp": lambda m, z, y: y,
    "log": lambda m, z, y: m.create("reciprocal", z),
    "abs": lambda m, z, y: m.create("sign", z),
    "sqrt": lambda m, z, y: m.create("divide", m.constant(0.5), y),
    "sin": lambda m, z, y: m.create("cos", z),
    "cos": lambda m, z, y: m.create("negate", m.create("sin", z)),
    "square": lambda m, z, y: m.create("multiply", m.constant(2.0), z),
    "reciprocal": lambda m, z, y: m.create("negate", m.create("square", y)),
    "at_least_tiny": lambda m, z, y: m.create("equal", z, y),
}
"""y = f(z) entry by entry: the derivative f'(z), from z and y."""


def _add_vjp(
    m: VjpBuilder, y: Any, operands: Sequence[Any], g: Any, attributes: tuple[Attribute, ...]
) -> Sequence[Any | None]:
    return [g for _ in operands]


def _multiply_vjp(
    m: VjpBuilder, y: Any, operands: Sequence[Any], g: Any, attributes: tuple[Attribute, ...]
) -> Sequence[Any | None]:
    gains: list[Any] = []
    for index in range(len(operands)):
        others = [other for at, other in enumerate(operands) if at != index]
        gains.append(m.create("multiply", g, *others))
    return gains


def _divide_vjp(
    m: VjpBuilder, y: Any, operands: Sequence[Any], g: Any, attributes: tuple[Attribute, ...]
) -> Sequence[Any | None]:
    # d(a/b) = da / b - (a/b) db / b
    inverse = m.create("reciprocal", operands[1])
    return (
        m.create("multiply", g, inverse),
        m.create("multiply", g, m.create("negate", m.create("multiply", y, inverse))),
    )


def _power_vjp(
    m: VjpBuilder, y: Any, operands: Sequence[Any], g: Any, attributes: tuple[Attribute, ...]
) -> Sequence[Any | None]:
    # d(a^b) = b a^(b-1) da + a^b log a db, the second 0 at a = 0
    a, b = operands
    below = m.create("power", a, m.create("subtract", b, m.constant(1.0)))
    return (
        m.create("multiply", g, m.create("multiply", b, below)),
        m.create("multiply", g, m.create("x_log_y", y, a)),
    )


def _select_vjp(
    m: VjpBuilder, y: Any, operands: Sequence[Any], g: Any, attributes: tuple[Attribute, ...]
) -> Sequence[Any | None]:
    nothing = m.constant(0.0)
    choice = operands[0]
    return None, m.create("select", choice, g, nothing), m.create("select", choice, nothing, g)


def _matmul_vjp(
    m: VjpBuilder, y: Any, operands: Sequence[Any], g: Any, attributes: tuple[Attribute, ...]
) -> Sequence[Any | None]:
    # y = W v: dv = Wᵀ g and dW = g vᵀ
    weight, vector = operands
    transposed = bool(attributes[0])
    pair = (vector, g) if transposed else (g, vector)
    shape = m.shape(weight)
    blocks: tuple[Attribute, ...] = (shape[0],) if len(shape) == 3 else ()
    return (
        m.create("outer_sum", *pair, attributes=blocks),
        m.create("matmul", weight, g, attributes=(not transposed,)),
    )


def _lookup_vjp(
    m: VjpBuilder, y: Any, operands: Sequence[Any], g: Any, attributes: tuple[Attribute, ...]
) -> Sequence[Any | None]:
    weight, symbol = operands
    shape = m.shape(weight)
    return m.create("indexed_sum", g, symbol, attributes=(attributes[0], *shape)), None


def _concatenate_vjp(
    m: VjpBuilder, y: Any, operands: Sequence[Any], g: Any, attributes: tuple[Attribute, ...]
) -> Sequence[Any | None]:
    gains: list[Any] = []
    start = 0
    for operand in operands:
        stop = start + m.width(operand)
        gains.append(m.create("slice", g, attributes=(start, stop)))
        start = stop
    return gains


def _stack_vjp(
    m: VjpBuilder, y: Any, operands: Sequence[Any], g: Any, attributes: tuple[Attribute, ...]
) -> Sequence[Any | None]:
    axis = int(attributes[0])
    gains: list[Any] = []
    start = 0
    for operand in operands:
        stop = start + m.shape(operand)[axis]
        gains.append(m.create("cut", g, attributes=(axis, start, stop)))
        start = stop
    return gains


def _slice_vjp(
    m: VjpBuilder, y: Any, operands: Sequence[Any], g: Any, attributes: tuple[Attribute, ...]
) -> Sequence[Any | None]:
    return (m.create("pad", g, attributes=(attributes[0], m.width(operands[0]))),)


def _group_max_vjp(
    m: VjpBuilder, y: Any, operands: Sequence[Any], g: Any, attributes: tuple[Attribute, ...]
) -> Sequence[Any | None]:
    # Entries that share the first place share the gradient, as in torch.amax.
    k = attributes
    first = m.create("equal", operands[0], m.create("spread", y, attributes=k))
    share = m.create("reciprocal", m.create("group_sum", first, attributes=k))
    weights = m.create("multiply", first, m.create("spread", share, attributes=k))
    return (m.create("multiply", m.create("spread", g, attributes=k), weights),)


def _scatter_window(m: VjpBuilder, weights: Any, vector: Any, ends: tuple[Attribute, ...]) -> Any:
    """What the variable of rows gains: Σ weightsᵢ vector over the windows it is row i of."""
    first, last = (int(end) for end in ends)
    return m.create(
        "unmix",
        *(m.shift(weights, last), m.shift(weights, first)),
        *(m.shift(vector, last), m.shift(vector, first)),
        attributes=ends,
    )


def _scores_vjp(
    m: VjpBuilder, y: Any, operands: Sequence[Any], g: Any, attributes: tuple[Attribute, ...]
) -> Sequence[Any | None]:
    # yᵢ = rowᵢ · q: dq = Σ gᵢ rowᵢ, drowᵢ = gᵢ q
    v, end, q = operands
    n = m.width(q)
    symbol = m.shape(v) == ()
    rows = None if symbol else _scatter_window(m, g, q, attributes)
    return rows, None, m.create("mix", v, end, g, attributes=(*attributes, n))


def _mix_vjp(
    m: VjpBuilder, y: Any, operands: Sequence[Any], g: Any, attributes: tuple[Attribute, ...]
) -> Sequence[Any | None]:
    # y = Σ aᵢ rowᵢ: daᵢ = rowᵢ · g, drowᵢ = aᵢ g
    v, end, a = operands
    ends = attributes[:2]
    rows = None if m.shape(v) == () else _scatter_window(m, a, g, ends)
    return rows, None, m.create("scores", v, end, g, attributes=ends)


def _log_mix_vjp(
    m: VjpBuilder, y: Any, operands: Sequence[Any], g: Any, attributes: tuple[Attribute, ...]
) -> Sequence[Any | None]:
    # y = log Σ e^lᵢ rowᵢ: dlᵢ = (g at rowᵢ's symbol) e^(lᵢ − y there)
    v, end, logs, mask = operands
    ends = attributes[:2]
    share = m.create("shares", v, end, logs, y, mask, attributes=ends)
    gain = m.create("multiply", m.create("scores", v, end, g, attributes=ends), share)
    return None, None, gain, None


def _logaddexp_vjp(
    m: VjpBuilder, y: Any, operands: Sequence[Any], g: Any, attributes: tuple[Attribute, ...]
) -> Sequence[Any | None]:
    # d log(eᵃ + eᵇ) = e^(a − y) da + e^(b − y) db
    return [
        m.create("multiply", g, m.create("exp", m.create("subtract", operand, y)))
        for operand in operands
    ]


VJP_RULES: Final[dict[str, VjpRule]] = {
    name: _elementwise_vjp(slope) for name, slope in ELEMENTWISE_DERIVATIVES.items()
} | {
    "add": _add_vjp,
    "subtract": lambda m, y, operands, g, attributes: (g, m.create("negate", g)),
    "multiply": _multiply_vjp,
    "divide": _divide_vjp,
    "negate": lambda m, y, operands, g, attributes: (m.create("negate", g),),
    "one_minus": lambda m, y, operands, g, attributes: (m.create("negate", g),),
    "power": _power_vjp,
    "select": _select_vjp,
    "matmul": _matmul_vjp,
    "lookup": _lookup_vjp,
    "concatenate": _concatenate_vjp,
    "stack": _stack_vjp,
    "slice": _slice_vjp,
    "spread": lambda m, y, operands, g, attributes: (
        m.create("group_sum", g, attributes=attributes),
    ),
    "group_sum": lambda m, y, operands, g, attributes: (
        m.create("spread", g, attributes=attributes),
    ),
    "group_max": _group_max_vjp,
    "state": lambda m, y, operands, g, attributes: (g,),
    "scores": _scores_vjp,
    "mix": _mix_vjp,
    "log_mix": _log_mix_vjp,
    "logaddexp": _logaddexp_vjp,
}
"""The rule of every operation that lets gradients through."""

NON_DIFFERENTIABLE_OPS: Final = frozenset(
    {"stopgrad", "onehot", "positive", "sign", "equal", "matches"}
)
"""Operations whose result counts as a constant."""
