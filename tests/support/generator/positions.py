"""Every position in which an operand can stand, and how an expression is written around one.

The functions of the catalogue each give one position an operand; the rest are the grammar's. A
position takes an operand and gives a value that stays moderate: what grows is held by a bounded
factor beside it, what has a pole is kept away from it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from rnnc.operators.semantics.primitives import ARITHMETIC_OPS, PRIMITIVES, Primitive
from support.generator.text import INFIX, ITEM, PREFIX, PRODUCT, RUN, SUM, Text

if TYPE_CHECKING:
    from support.generator.expressions import Writer

Place = Callable[["Writer", Text], Text]

POSITIVE = ("log z", "sqrt z", "divide right")
"""Positions with positive operands."""

GROWING = {"exp": "exp(tanh({0}))"}
"""Functions whose argument is bounded by default."""

PROBABILITIES = ("0.3", "0.25", "0.5", "0")


def _call(function: Primitive, index: int, writer: Writer, operand: Text) -> Text:
    """Write a call with the operand as argument `index`."""
    world, width = writer.world, operand.width
    name = world.rng.choice([function.name, *function.aliases])
    match function.name:
        case "exp" if not writer.is_small(operand):
            # A name must stay the argument itself; squash the whole call instead.
            return Text(f"tanh(exp({operand.text}))", width)
        case "maxout" | "lp":
            return _grouped(function, index, writer, operand)
        case "dropout" | "variational" | "zoneout":
            # A zoneout of 0 is its first operand, so the other's width would not be checked.
            some = PROBABILITIES[: 3 if function.name == "zoneout" else 4]
            constants = [world.rng.choice(some)]
        case _:
            constants = []
    others = [
        operand.text if arguments == index else _other(function, label, writer, width)
        for arguments, label in enumerate(function.operands)
    ]
    value = Text(f"{name}({', '.join([*constants, *others])})", width)
    return Text(value.text, 1) if function.shape_rule == "scalar" else value


def _other(function: Primitive, label: str, writer: Writer, width: int) -> str:
    """Write another argument of a function."""
    if function.name == "dot":
        return writer.vector(width, 0).text
    if label in {"g", "b", "ρ"} and writer.world.flip(0.6):
        start = "" if label == "b" else ", constant(1)"
        return writer.scope.vector_parameter(width, known=False, start=start)
    if label in {"g", "b", "ρ", "old"} and writer.world.flip(0.15) and width > 1:
        return writer.number()
    # A zoneout in a law is a sum of two products, which broadcasts with a number.
    return writer.vector(width, 0, known=True if function.is_random else None).text


def _grouped(function: Primitive, index: int, writer: Writer, operand: Text) -> Text:
    """Write `maxout` or `lp`, with z k times as wide as the result."""
    width, world = operand.width, writer.world
    if index:
        k = world.rng.randint(1, 3)
        z = writer.vector(k * width, 0, known=width == 1 or None)
        return Text(f"{function.name}({k}, {z.text}, {operand.text})", width)
    k = world.rng.choice([k for k in (1, 2, 3, width) if width % k == 0])
    others = [] if function.name == "maxout" else [_other(function, "ρ", writer, width // k)]
    return Text(f"{function.name}({', '.join([str(k), operand.text, *others])})", width // k)


def _split(writer: Writer, operand: Text) -> Text:
    """Write a `split`, and use both parts."""
    if operand.width < 2:
        other = writer.vector(1, 0)
        operand = Text(f"[{operand.text} ; {other.text}]", 2)
    first = writer.rng.randint(1, operand.width - 1)
    second = operand.width - first
    p, q = writer.world.fresh_name("p"), writer.world.fresh_name("q")
    writer.scope.lines.append(f"({p}, {q}) = split({operand.text}, {first}, {second})")
    parts = Text(p, first, kind="part"), Text(q, second, kind="part")
    writer.add_names(*parts)
    return parts[0] if writer.world.flip(0.5) else parts[1]


def _beside(operation: str, right: bool, writer: Writer, operand: Text) -> Text:
    """Write arithmetic with another operand of equal width, or with a number."""
    width = operand.width
    sign = {"add": "+", "subtract": "-", "divide": "/"}.get(operation, "")
    sign = sign or writer.rng.choice("⊙*")
    if width > 1 and writer.world.flip(0.15):
        other = writer.scalar()
    else:
        wide = width if width > 1 or writer.world.flip(0.7) else writer.width()
        other = writer.vector(wide, 0, known=width == 1)
    if operation == "multiply":
        other = writer.scope.squash(other)
    elif operation == "divide":
        other = writer.positive(other.width) if not right else writer.scope.squash(other)
    wide = max(width, other.width)
    level = SUM if operation in {"add", "subtract"} else PRODUCT
    if right:
        return Text(f"{other.at(level)} {sign} {operand.at(level + 1)}", wide, level)
    # Signs of one precedence parse to a flat chain, so parenthesize the first operand.
    left = operand.at(level + 1 if writer.exact else level)
    return Text(f"{left} {sign} {other.at(level + 1)}", wide, level)


def _negate(writer: Writer, operand: Text) -> Text:
    return Text(f"-{operand.at(RUN if writer.exact else PREFIX)}", operand.width, PREFIX)


def _product(transposed: bool, writer: Writer, operand: Text) -> Text:
    """Write one or two matrices before the operand."""
    rows = writer.width()
    name = writer.scope.matrix(rows, operand.width, known=True)
    if transposed != name.endswith("ᵀ"):
        name = writer.scope.world.fresh_name("W")
        shape = (operand.width, rows) if transposed else (rows, operand.width)
        writer.scope.declare(f"{name}: real[{shape[0]}, {shape[1]}]")
        name += "ᵀ" * transposed
    text = Text(f"{name} {operand.item}", rows, RUN)
    if not writer.exact and writer.world.flip(0.15):
        outer = writer.width()
        text = Text(f"{writer.scope.matrix(outer, rows, known=True)} {text.text}", outer, RUN)
    return text


def _diagonal(writer: Writer, operand: Text) -> Text:
    return Text(f"{writer.scope.diagonal(operand.width)} {operand.item}", operand.width, RUN)


def _concatenation(writer: Writer, operand: Text) -> Text:
    alone = writer.exact and writer.world.widths == (1,)
    parts = [
        operand,
        *(writer.operator_argument() for _ in range(0 if alone else writer.rng.randint(0, 2))),
    ]
    writer.rng.shuffle(parts)
    text = f"[{' ; '.join(part.text for part in parts)}]"
    # After a name, `[x]` would parse as a time.
    return Text(f"({text})" if len(parts) == 1 else text, sum(p.width for p in parts))


def _scores(writer: Writer, operand: Text) -> Text:
    """Write `M q` with a window whose rows are as wide as the operand."""
    symbols = True if operand.form == "symbol" else None
    window = writer.scope.window(operand.width, 0, symbols=symbols)
    if window is None and not symbols and writer.scope.add_series is not None:
        writer.scope.add_series(operand.width)
        window = writer.scope.window(operand.width, 0, symbols=symbols)
    if window is None:
        if symbols:
            return _product(False, writer, operand)
        window = writer.scope.window(0, 0, symbols=None)
        assert window is not None
        operand = writer.fit(operand, window.width, known=False)
    return Text(f"{window.text} {operand.item}", window.rows, RUN)


def _mix(writer: Writer, operand: Text) -> Text:
    """Write `Mᵀ a` with a window of as many rows as the operand has entries."""
    window = writer.scope.window(0, operand.width, symbols=None)
    if window is None:
        window = writer.scope.window(0, 0, symbols=None)
        assert window is not None
        operand = writer.fit(operand, window.rows, known=False)
    return Text(f"{window.text}ᵀ {operand.item}", window.width, RUN)


def _infix(right: bool, writer: Writer, operand: Text) -> Text:
    other = writer.operator_argument() if writer.world.flip(0.8) else writer.tuple_()
    pair = (other, operand) if right else (operand, other)
    symbol, result = writer.operator("infix", pair)
    left, second = (part.at(SUM) for part in pair)
    return replace_text(result, f"{left} {symbol} {second}", INFIX)


def _prefix(writer: Writer, operand: Text) -> Text:
    symbol, result = writer.operator("prefix", (operand,))
    text = f"{symbol} {operand.at(RUN if writer.exact else PREFIX)}"
    return replace_text(result, text, PREFIX)


def _named(writer: Writer, operand: Text) -> Text:
    others = [writer.operator_argument() for _ in range(writer.rng.randint(0, 2))]
    operands = (*others, operand)
    name, result = writer.operator("named", operands)
    return replace_text(result, f"{name}({', '.join(part.text for part in operands)})", ITEM)


def replace_text(result: Text, text: str, level: int) -> Text:
    """Return an operator's result with the text of its application."""
    return Text(text, result.width, level, result.form, parts=result.parts)


def _functions() -> dict[str, Place]:
    positions: dict[str, Place] = {}
    for function in PRIMITIVES:
        for index, label in enumerate(function.operands):
            positions[f"{function.name} {label}"] = partial(_call, function, index)
    return positions


def _arithmetic() -> dict[str, Place]:
    """Return the positions on both sides of each binary sign."""
    positions: dict[str, Place] = {}
    for name, meaning in ARITHMETIC_OPS.items():
        if "b" in meaning.split():
            positions[f"{name} left"] = partial(_beside, name, False)
            positions[f"{name} right"] = partial(_beside, name, True)
    return positions


PLACES: dict[str, Place] = {
    **_functions(),
    **_arithmetic(),
    "negate": _negate,
    "split z": _split,
    "matrix right": partial(_product, False),
    "transposed right": partial(_product, True),
    "diagonal right": _diagonal,
    "concatenation": _concatenation,
    "window right": _scores,
    "window transposed right": _mix,
    "infix left": partial(_infix, False),
    "infix right": partial(_infix, True),
    "prefix": _prefix,
    "call": _named,
}
"""Positions inside expressions."""

TAKE_SYMBOLS = frozenset({
    "matrix right", "transposed right", "concatenation", "window right", "infix left",
    "infix right", "prefix", "call", "tuple", "local",
})  # fmt: skip
"""Positions that accept a symbol."""

TAKE_ANY = frozenset({"infix left", "infix right", "prefix", "call", "tuple", "local"})
"""Positions that also accept windows and tuples."""
