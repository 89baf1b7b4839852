"""The derivative of every elementary operation: what an operand's gradient gains.

A rule gets the operation's result y, its operands and the gradient g of y, and says, in the same
operations, what the gradient of each operand gains. Widths of one that were broadcast are summed
by the caller (`rnnc.compiler.autodiff.reverse_mode`), as are vectors of parameters over time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

from rnnc.operators.graph.operator_graph import Attribute


class Maker(Protocol):
    """Makes values; those that it takes and gives are its own (`Any` here)."""

    def make(self, operation: str, *operands: Any, attributes: tuple[Attribute, ...] = ()) -> Any:
        """A value of an operation."""

    def number(self, value: float) -> Any:
        """A constant."""

    def width(self, value: Any) -> int:
        """The width of a vector."""

    def shape(self, value: Any) -> tuple[int, ...]:
        """The shape of a vector or matrix; () for a symbol."""

    def ahead(self, value: Any, steps: int) -> Any:
        """The value so many steps later; itself where it is the same at all steps."""


Rule = Callable[[Maker, Any, Sequence[Any], Any, tuple[Attribute, ...]], Sequence[Any | None]]
"""(maker, y, operands, g, attributes) -> what each operand's gradient gains, None for nothing."""

Slope = Callable[[Maker, Any, Any], Any]
"""(maker, z, y) -> dy/dz."""


def _elementwise(slope: Slope) -> Rule:
    def rule(
        m: Maker, y: Any, operands: Sequence[Any], g: Any, attributes: tuple[Attribute, ...]
    ) -> Sequence[Any | None]:
        return (m.make("multiply", g, slope(m, operands[0], y)),)

    return rule


def _leaky(m: Maker, z: Any, y: Any) -> Any:
    return m.make("select", m.make("positive", z), m.number(1.0), m.number(0.01))


def _elu(m: Maker, z: Any, y: Any) -> Any:
    above = m.number(1.0)
    return m.make("select", m.make("positive", z), above, m.make("add", y, m.number(1.0)))


def _silu(m: Maker, z: Any, y: Any) -> Any:
    # d(z s)/dz = s + z s (1 - s) = s + y (1 - s)
    s = m.make("sigmoid", z)
    return m.make("add", s, m.make("multiply", y, m.make("one_minus", s)))


SLOPES: Final[dict[str, Slope]] = {
    "tanh": lambda m, z, y: m.make("one_minus", m.make("square", y)),
    "sigmoid": lambda m, z, y: m.make("multiply", y, m.make("one_minus", y)),
    "relu": lambda m, z, y: m.make("positive", z),
    "leaky_relu": _leaky,
    "elu": _elu,
    "gelu": lambda m, z, y: m.make("gelu_slope", z),
    "silu": _silu,
    "softplus": lambda m, z, y: m.make("softplus_slope", z),
    "softsign": lambda m, z, y: m.make("square", m.make("one_minus", m.make("abs", y))),
    "exp": lambda m, z, y: y,
    "log": lambda m, z, y: m.make("reciprocal", z),
    "abs": lambda m, z, y: m.make("sign", z),
    "sqrt": lambda m, z, y: m.make("divide", m.number(0.5), y),
    "sin": lambda m, z, y: m.make("cos", z),
    "cos": lambda m, z, y: m.make("negate", m.make("sin", z)),
    "square": lambda m, z, y: m.make("multiply", m.number(2.0), z),
    "reciprocal": lambda m, z, y: m.make("negate", m.make("square", y)),
    "at_least_tiny": lambda m, z, y: m.make("equal", z, y),
}
"""y = f(z) entry by entry: the derivative f'(z), from z and y."""


def _add(
    m: Maker, y: Any, operands: Sequence[Any], g: Any, attributes: tuple[Attribute, ...]
) -> Sequence[Any | None]:
    return [g for _ in operands]


def _multiply(
    m: Maker, y: Any, operands: Sequence[Any], g: Any, attributes: tuple[Attribute, ...]
) -> Sequence[Any | None]:
    gains: list[Any] = []
    for index in range(len(operands)):
        others = [other for at, other in enumerate(operands) if at != index]
        gains.append(m.make("multiply", g, *others))
    return gains


def _divide(
    m: Maker, y: Any, operands: Sequence[Any], g: Any, attributes: tuple[Attribute, ...]
) -> Sequence[Any | None]:
    # d(a/b) = da / b - (a/b) db / b
    inverse = m.make("reciprocal", operands[1])
    return (
        m.make("multiply", g, inverse),
        m.make("multiply", g, m.make("negate", m.make("multiply", y, inverse))),
    )


def _power(
    m: Maker, y: Any, operands: Sequence[Any], g: Any, attributes: tuple[Attribute, ...]
) -> Sequence[Any | None]:
    # d(a^b) = b a^(b-1) da + a^b log a db, the second 0 at a = 0
    a, b = operands
    below = m.make("power", a, m.make("subtract", b, m.number(1.0)))
    return (
        m.make("multiply", g, m.make("multiply", b, below)),
        m.make("multiply", g, m.make("x_log_y", y, a)),
    )


def _select(
    m: Maker, y: Any, operands: Sequence[Any], g: Any, attributes: tuple[Attribute, ...]
) -> Sequence[Any | None]:
    nothing = m.number(0.0)
    choice = operands[0]
    return None, m.make("select", choice, g, nothing), m.make("select", choice, nothing, g)


def _matmul(
    m: Maker, y: Any, operands: Sequence[Any], g: Any, attributes: tuple[Attribute, ...]
) -> Sequence[Any | None]:
    # y = W v: dv = Wᵀ g and dW = g vᵀ
    weight, vector = operands
    transposed = bool(attributes[0])
    pair = (vector, g) if transposed else (g, vector)
    shape = m.shape(weight)
    blocks: tuple[Attribute, ...] = (shape[0],) if len(shape) == 3 else ()
    return (
        m.make("outer_sum", *pair, attributes=blocks),
        m.make("matmul", weight, g, attributes=(not transposed,)),
    )


def _lookup(
    m: Maker, y: Any, operands: Sequence[Any], g: Any, attributes: tuple[Attribute, ...]
) -> Sequence[Any | None]:
    weight, symbol = operands
    shape = m.shape(weight)
    return m.make("indexed_sum", g, symbol, attributes=(attributes[0], *shape)), None


def _concatenate(
    m: Maker, y: Any, operands: Sequence[Any], g: Any, attributes: tuple[Attribute, ...]
) -> Sequence[Any | None]:
    gains: list[Any] = []
    start = 0
    for operand in operands:
        stop = start + m.width(operand)
        gains.append(m.make("slice", g, attributes=(start, stop)))
        start = stop
    return gains


def _stack(
    m: Maker, y: Any, operands: Sequence[Any], g: Any, attributes: tuple[Attribute, ...]
) -> Sequence[Any | None]:
    axis = int(attributes[0])
    gains: list[Any] = []
    start = 0
    for operand in operands:
        stop = start + m.shape(operand)[axis]
        gains.append(m.make("cut", g, attributes=(axis, start, stop)))
        start = stop
    return gains


def _slice(
    m: Maker, y: Any, operands: Sequence[Any], g: Any, attributes: tuple[Attribute, ...]
) -> Sequence[Any | None]:
    return (m.make("pad", g, attributes=(attributes[0], m.width(operands[0]))),)


def _group_max(
    m: Maker, y: Any, operands: Sequence[Any], g: Any, attributes: tuple[Attribute, ...]
) -> Sequence[Any | None]:
    # Entries that share the first place share the gradient, as in torch.amax.
    k = attributes
    first = m.make("equal", operands[0], m.make("spread", y, attributes=k))
    share = m.make("reciprocal", m.make("group_sum", first, attributes=k))
    weights = m.make("multiply", first, m.make("spread", share, attributes=k))
    return (m.make("multiply", m.make("spread", g, attributes=k), weights),)


def _unmixed(m: Maker, weights: Any, vector: Any, ends: tuple[Attribute, ...]) -> Any:
    """What the variable of rows gains: Σ weightsᵢ vector over the windows it is row i of."""
    first, last = (int(end) for end in ends)
    return m.make(
        "unmix",
        *(m.ahead(weights, last), m.ahead(weights, first)),
        *(m.ahead(vector, last), m.ahead(vector, first)),
        attributes=ends,
    )


def _scores(
    m: Maker, y: Any, operands: Sequence[Any], g: Any, attributes: tuple[Attribute, ...]
) -> Sequence[Any | None]:
    # yᵢ = rowᵢ · q: dq = Σ gᵢ rowᵢ, drowᵢ = gᵢ q
    v, end, q = operands
    n = m.width(q)
    symbol = m.shape(v) == ()
    rows = None if symbol else _unmixed(m, g, q, attributes)
    return rows, None, m.make("mix", v, end, g, attributes=(*attributes, n))


def _mix(
    m: Maker, y: Any, operands: Sequence[Any], g: Any, attributes: tuple[Attribute, ...]
) -> Sequence[Any | None]:
    # y = Σ aᵢ rowᵢ: daᵢ = rowᵢ · g, drowᵢ = aᵢ g
    v, end, a = operands
    ends = attributes[:2]
    rows = None if m.shape(v) == () else _unmixed(m, a, g, ends)
    return rows, None, m.make("scores", v, end, g, attributes=ends)


def _log_mix(
    m: Maker, y: Any, operands: Sequence[Any], g: Any, attributes: tuple[Attribute, ...]
) -> Sequence[Any | None]:
    # y = log Σ e^lᵢ rowᵢ: dlᵢ = (g at rowᵢ's symbol) e^(lᵢ − y there)
    v, end, logs, mask = operands
    ends = attributes[:2]
    share = m.make("shares", v, end, logs, y, mask, attributes=ends)
    gain = m.make("multiply", m.make("scores", v, end, g, attributes=ends), share)
    return None, None, gain, None


def _logaddexp(
    m: Maker, y: Any, operands: Sequence[Any], g: Any, attributes: tuple[Attribute, ...]
) -> Sequence[Any | None]:
    # d log(eᵃ + eᵇ) = e^(a − y) da + e^(b − y) db
    return [
        m.make("multiply", g, m.make("exp", m.make("subtract", operand, y))) for operand in operands
    ]


RULES: Final[dict[str, Rule]] = {name: _elementwise(slope) for name, slope in SLOPES.items()} | {
    "add": _add,
    "subtract": lambda m, y, operands, g, attributes: (g, m.make("negate", g)),
    "multiply": _multiply,
    "divide": _divide,
    "negate": lambda m, y, operands, g, attributes: (m.make("negate", g),),
    "one_minus": lambda m, y, operands, g, attributes: (m.make("negate", g),),
    "power": _power,
    "select": _select,
    "matmul": _matmul,
    "lookup": _lookup,
    "concatenate": _concatenate,
    "stack": _stack,
    "slice": _slice,
    "spread": lambda m, y, operands, g, attributes: (
        m.make("group_sum", g, attributes=attributes),
    ),
    "group_sum": lambda m, y, operands, g, attributes: (
        m.make("spread", g, attributes=attributes),
    ),
    "group_max": _group_max,
    "state": lambda m, y, operands, g, attributes: (g,),
    "scores": _scores,
    "mix": _mix,
    "log_mix": _log_mix,
    "logaddexp": _logaddexp,
}
"""The rule of every operation that lets gradients through."""

CONSTANT: Final = frozenset({"stopgrad", "onehot", "positive", "sign", "equal", "matches"})
"""Operations whose result counts as a constant."""
