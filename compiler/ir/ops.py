"""The operations of a dataflow: meaning, attributes, and inference of shapes and rates.

Every backend computes exactly these. Operands of width 1 broadcast; n, m are widths, k the size of
a group of neighboring entries, L the number of rows of a window.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rnnc.operators.graph.operator_graph import Attribute

from .dataflow import Rate

UNARY_OPS: Final = {
    "tanh": "tanh z",
    "sigmoid": "1 / (1 + e⁻ᶻ)",
    "relu": "max(z, 0)",
    "leaky_relu": "z where z > 0, else 0.01 z",
    "elu": "z where z > 0, else eᶻ − 1",
    "gelu": "z Φ(z)",
    "silu": "z σ(z)",
    "softplus": "log(1 + eᶻ); z itself where z > 20",
    "softsign": "z / (1 + |z|)",
    "exp": "eᶻ",
    "log": "log z",
    "abs": "|z|",
    "sqrt": "√z",
    "sin": "sin z",
    "cos": "cos z",
    "negate": "−z",
    "positive": "1 where z > 0, else 0",
    "sign": "−1, 0 or 1",
    "square": "z z",
    "reciprocal": "1 / z",
    "at_least_tiny": "max(z, the smallest normal number of the type)",
    "gelu_slope": "Φ(z) + z φ(z)",
    "softplus_slope": "σ(z); 1 where z > 20",
    "one_minus": "1 − z",
}
ELEMENTWISE_OPS: Final = UNARY_OPS | {
    "add": "the sum of all operands (one or more)",
    "multiply": "the product of all operands (one or more)",
    "subtract": "a − b",
    "divide": "a / b",
    "power": "aᵇ, for a ≥ 0",
    "x_log_y": "a log b; 0 where a = 0",
    "logaddexp": "log(eᵃ + eᵇ); one of them may be −∞",
    "equal": "1 where a = b, else 0",
    "select": "(c, a, b): a where c is not 0, else b",
    "linear": "(a, b, v): a v + b; v is this value (or its state) one step away: a scan",
}
STRUCTURAL_OPS: Final = {
    "input": "[name] an input; integers for symbols, −1 for none",
    "parameter": "[name] a parameter of the model, weight-drop applied",
    "constant": "[number] one number",
    "mask": "[node] a mask of the call: factors, or booleans (zoneout)",
    "present": "[first, last] for each row of a window 1, or 0 where it is missing: (L)",
    "seed": "[kind, name] an incoming cotangent: of an `output`, of a `law` or of a loss input "
    "(`kept`, by index), or of the carry (`history`): (T, B, n), zero but for the last steps of "
    "each row",
    "state": "[name] the value after a step; held once a row has ended",
    "concatenate": "the entries of all operands, one after the other",
    "stopgrad": "z, a constant for gradients; removed after differentiation",
    "slice": "[start, stop] the entries from start to stop",
    "pad": "[start, n] the operand at `start` in n entries, zero elsewhere",
    "onehot": "[n] the one-hot vector of a symbol; zero for none",
    "stack": "[axis] matrices one after the other: rows (0) or columns (1)",
    "cut": "[axis, start, stop] the rows (0) or columns (1) from start to stop of a matrix",
}
GROUP_OPS: Final = {
    "group_sum": "[k] the sum of each group: (n) to (n / k)",
    "group_max": "[k] the largest of each group",
    "spread": "[k] every entry k times: (n) to (n k)",
}
MATMUL_OPS: Final = {
    "matmul": "[transposed] matrix times vector; a matrix (k, r, c) is block-diagonal",
    "lookup": "[transposed] matrix times the one-hot vector of a symbol: a column (a row)",
}
WINDOW_OPS: Final = {
    "scores": "[first, last] (v, v, q): the scalar product of q with each row: (L)",
    "mix": "[first, last, n] (v, v, a): Σ aᵢ rowᵢ: (n)",
    "matches": "[first, last] (v, v, s): 1 for each row that is the symbol s, else 0: (L)",
    "log_mix": "[first, last, n] (v, v, l, m): log Σ e^lᵢ rowᵢ over rows where m is not 0; −∞ for "
    "symbols that no such row holds: (n)",
    "shares": "[first, last] (v, v, l, y, m): e^(lᵢ − y at the symbol of rowᵢ), 0 where m is: (L)",
    "unmix": "[first, last] (a, a, u, u): Σ aᵢ u over the windows in which this step is rowᵢ",
}
"""A window reads the rows `v[t-first] … v[t-last]` of a state or input, the oldest first.

Its first two operands are v at both ends (of `unmix`: the weights at both ends, with negative
delays), so that delays alone tell how far it reaches. A row outside of the segment counts as zero;
a symbol as one-hot, no symbol as zero. The rows are never copied.
"""
REDUCTION_OPS: Final = {
    "outer_sum": "[blocks] Σ a bᵀ over steps and rows (one term for values of rate `call`); with "
    "blocks, the diagonal blocks alone",
    "indexed_sum": "[transposed, shape…] Σ over steps and rows of a, at the column (row) of a "
    "symbol",
    "total": "Σ over steps and rows",
    "unmix_history": "[name, first, last] (a, a, u, u): `unmix` at each step before the first",
    "to_history": "[name] for each step before the first: the sum over its uses",
    "to_initial": "[name] over all steps: the sum over uses from outside of the segment",
}
ALL_OPS: Final = (
    ELEMENTWISE_OPS | STRUCTURAL_OPS | GROUP_OPS | MATMUL_OPS | WINDOW_OPS | REDUCTION_OPS
)
SOURCE_OPS: Final = frozenset({"input", "parameter", "constant", "mask", "present", "seed"})
WHOLE_VECTOR_OPS: Final = frozenset(GROUP_OPS) | frozenset(MATMUL_OPS) | frozenset(WINDOW_OPS)
"""Operations on whole vectors: every entry of their operands must be computed before them."""

Shape = tuple[int, ...]
_PER_ROW_OPS: Final = frozenset({"to_history", "to_initial", "unmix_history"})


def infer_type(
    operation: str, attributes: Sequence[Attribute], operands: Sequence[tuple[Shape, Rate]]
) -> tuple[Shape, Rate]:
    """Return the shape and rate of an operation's result; sources have no rule here.

    Raises:
        ValueError: when the operands' shapes do not fit.
    """
    shapes = [shape for shape, _ in operands]
    rate = infer_rate(operation, [rate for _, rate in operands])
    numbers = [int(a) for a in attributes if not isinstance(a, str)]
    match operation:
        case "state" | "stopgrad":
            return shapes[0], rate
        case "concatenate":
            return (sum(shape[0] for shape in shapes),), rate
        case "slice":
            _require(0 <= numbers[0] < numbers[1] <= shapes[0][0], operation, shapes)
            return (numbers[1] - numbers[0],), rate
        case "pad" | "onehot":
            return (numbers[-1],), rate
        case "stack" | "cut":
            return _matrix_shape(operation, numbers, shapes), rate
        case "spread":
            return (shapes[0][0] * numbers[0],), rate
        case "group_sum" | "group_max":
            _require(shapes[0][0] % numbers[0] == 0, operation, shapes)
            return (shapes[0][0] // numbers[0],), rate
        case "matmul" | "lookup":
            return _matmul_shape(operation, bool(attributes[0]), shapes), rate
    if operation in WINDOW_OPS:
        return _window_shape(operation, numbers, shapes), rate
    if operation in REDUCTION_OPS:
        return _reduction_shape(operation, numbers, shapes), rate
    return _elementwise_shape(operation, shapes), rate


def infer_rate(operation: str, operands: Sequence[Rate]) -> Rate:
    """Return the rate of a result: reductions aside, `call` if all operands have it, or `step`."""
    if operation in REDUCTION_OPS:
        return "row" if operation in _PER_ROW_OPS else "call"
    if operation == "state" or operation in WINDOW_OPS:
        return "step"
    return "call" if all(rate == "call" for rate in operands) else "step"


def _require(condition: bool, operation: str, shapes: Sequence[Shape]) -> None:
    if not condition:
        raise ValueError(f"{operation} of {', '.join(map(str, shapes))}")


def _matrix_shape(operation: str, numbers: list[int], shapes: list[Shape]) -> Shape:
    axis = numbers[0]
    extent = sum(s[axis] for s in shapes) if operation == "stack" else numbers[2] - numbers[1]
    _require(len({s[1 - axis] for s in shapes}) == 1, operation, shapes)
    other = shapes[0][1 - axis]
    return (extent, other) if axis == 0 else (other, extent)


def _matmul_shape(operation: str, transposed: bool, shapes: list[Shape]) -> Shape:
    weight = shapes[0]
    blocks = weight[0] if len(weight) == 3 else 1
    rows, columns = blocks * weight[-2], blocks * weight[-1]
    if transposed:
        rows, columns = columns, rows
    _require(operation == "lookup" or shapes[1] == (columns,), operation, shapes)
    return (rows,)


def _window_shape(operation: str, numbers: list[int], shapes: list[Shape]) -> Shape:
    first, last = numbers[:2]
    rows = first - last + 1
    _require(rows > 0 and shapes[0] == shapes[1], operation, shapes)
    if operation == "unmix":
        _require(shapes[0] == (rows,) and shapes[2] == shapes[3], operation, shapes)
        return shapes[2]
    width = numbers[2:] or [rows]
    _require(operation != "mix" or shapes[0] in {(), (width[0],)}, operation, shapes)
    return (width[0],)


def _elementwise_shape(operation: str, shapes: list[Shape]) -> Shape:
    _require(operation in ELEMENTWISE_OPS, operation, shapes)
    if len(shapes[0]) > 1:
        _require(len(set(shapes)) == 1, operation, shapes)
        return shapes[0]
    width = max(shape[0] for shape in shapes)
    _require(all(shape in {(1,), (width,)} for shape in shapes), operation, shapes)
    return (width,)


def _reduction_shape(operation: str, numbers: list[int], shapes: list[Shape]) -> Shape:
    match operation:
        case "to_history" | "to_initial" | "total":
            return shapes[0]
        case "unmix_history":
            return shapes[2]
        case "indexed_sum":
            return tuple(numbers[1:])
    rows, columns = shapes[0][0], shapes[1][0]
    if not numbers:
        return (rows, columns)
    k = numbers[0]
    return (k, rows // k, columns // k)
