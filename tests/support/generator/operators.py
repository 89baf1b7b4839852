"""Generate operator definitions for given operands."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from support.generator.scope import Scope, SpecState
from support.generator.text import ITEM, Text

if TYPE_CHECKING:
    from support.generator.expressions import Writer

MAX_OPERATORS = 6
"""Operators above which existing ones are reused."""
MAX_DEPTH = 2
INFIX_SYMBOLS, PREFIX_SYMBOLS = "⊕⊗⊖⊞⊠", "▷◁△▽"
"""`⊛` is left to `recipes.py`, which numbers it."""
DIGITS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")


@dataclass(frozen=True)
class DefinedOperator:
    """An operator: spelling, operand types, result."""

    name: str
    fixity: str
    shapes: tuple[object, ...]
    result: Text


def operator(writer: Writer, fixity: str, operands: tuple[Text, ...]) -> tuple[str, Text]:
    """Return an existing or new operator for some operands."""
    world = writer.world
    shapes = tuple(operand.shape for operand in operands)
    plain = writer.in_loss or writer.exact
    known = [
        d
        for d in world.operators
        if (d.fixity, d.shapes) == (fixity, shapes) and not (plain and d.result.form == "tuple")
    ]
    full = len(world.operators) >= MAX_OPERATORS and not writer.exact
    if known and (world.flip(0.5) or full):
        chosen = world.rng.choice(known)
        return chosen.name, chosen.result
    defined = define(world, fixity, operands, plain=plain)
    return defined.name, defined.result


def new_name(world: SpecState, fixity: str) -> str:
    """Return a fresh symbol with subscript, or function name."""
    if fixity == "named":
        return world.fresh_name("f")
    world.symbols += 1
    symbol = world.rng.choice(INFIX_SYMBOLS if fixity == "infix" else PREFIX_SYMBOLS)
    subscript = str(world.symbols)
    return symbol + ("_" + subscript if world.flip(0.2) else subscript.translate(DIGITS))


def define(
    world: SpecState,
    fixity: str,
    operands: tuple[Text, ...],
    *,
    plain: bool = False,
    result: tuple[int, ...] = (),
    owed: tuple[str, str] | None = None,
) -> DefinedOperator:
    """Define a new operator.

    plain: give one vector; result: the widths of what it gives; owed: a position and a kind of
    operand that its body holds.
    """
    name = new_name(world, fixity)
    scope = Scope(world, [], place="body")
    heads = [_head(scope, operand) for operand in operands]
    world.depth += 1
    value = _body(scope, plain=plain, result=result, owed=owed)
    world.depth -= 1
    if fixity == "infix":
        left, right = (f"({h})" if ":" in h and h[0] != "(" else h for h in heads)
        head = f"{left} {name} {right}"
    elif fixity == "prefix":
        head = f"{name} {f'({heads[0]})' if ':' in heads[0] and heads[0][0] != '(' else heads[0]}"
    else:
        head = f"{name}({', '.join(heads)})"
    lines = [*scope.declared, *scope.lines]
    if not lines and world.flip(0.8):
        world.top.append(f"operator {head} = {value.text}")
    else:
        world.top += [f"operator {head}:", *(f"    {line}" for line in lines), f"    {value.text}"]
    matching = Text("", value.width, ITEM, value.form, parts=value.parts)
    defined = DefinedOperator(name, fixity, tuple(operand.shape for operand in operands), matching)
    world.operators.append(defined)
    return defined


def _head(scope: Scope, operand: Text) -> str:
    """Write an operand of a definition."""
    if operand.form == "tuple":
        return f"({', '.join(_head(scope, part) for part in operand.parts)})"
    name = scope.world.fresh_name("q" if operand.form == "window" else "x")
    kind = operand.form if operand.form == "window" else "operand"
    scope.reads.append(
        Text(name, operand.width, ITEM, operand.form, operand.rows, operand.symbols, kind=kind)
    )
    if operand.form == "vector" and scope.world.flip(0.25):
        return f"{name}: real[{operand.width}]"
    return name


def _body(
    scope: Scope, *, plain: bool, result: tuple[int, ...], owed: tuple[str, str] | None
) -> Text:
    """Write locals and the result."""
    from support.generator.expressions import Writer

    world, writer = scope.world, Writer(scope)
    depth = 2 if world.depth < MAX_DEPTH else 0
    if owed is not None and owed[0] != "result":
        show(writer, *owed)
    if world.flip(0.4) and depth:
        local(writer, depth)
    if not plain and not result and world.flip(0.2):
        result = (world.width(), world.width())
    if len(result) > 1:
        parts = [_result(writer, width, depth) for width in result]
        parts = [_with_operands(writer, part) for part in parts]
        return writer.tuple_of(parts)
    if owed is not None and owed[0] == "result":
        return writer.operand(1, owed[1])
    value = _result(writer, result[0] if result else world.width(), depth)
    return _with_operands(writer, value)


def _with_operands(writer: Writer, value: Text) -> Text:
    """Make the result depend on each operand and local."""
    scope = writer.scope
    for read in list(scope.reads):
        text = "\n".join([*scope.lines, value.text])
        combined = len(re.findall(rf"(?<!\w){read.text}(?!\w)", text))
        if combined < (1 if read.kind == "operand" else 2) and read.form in {"vector", "symbol"}:
            terms = writer.fit(read, value.width, known=True)
            # Damp the sum, so that states do not grow from step to step.
            value = Text(f"{value.at(1)} + 0.25 * {terms.at(3)}", value.width, 1)
    return value


def _result(writer: Writer, width: int, depth: int) -> Text:
    """Write a value, mostly bounded."""
    value = writer.vector(width, depth, known=True)
    return writer.scope.squash(value) if writer.world.flip(0.7) else value


def local(writer: Writer, depth: int) -> Text:
    """Add a local and return its name."""
    value = writer.operand(depth)
    name = writer.world.fresh_name("z")
    typed = f": real[{value.width}]" if writer.world.flip(0.4) else ""
    writer.scope.lines.append(f"{name}{typed} = {value.text}")
    expression = Text(name, value.width, kind="local")
    writer.add_names(expression)
    return expression


def show(writer: Writer, position: str, kind: str) -> None:
    """Add a local with an operand of a kind in a position."""
    if position == "tuple":
        parts = [writer.operand(2, kind), writer.operator_argument()]
        writer.rng.shuffle(parts)
        writer.take_apart(writer.tuple_of(parts))
        return
    value = writer.operand(2, kind) if position == "local" else writer.computed(position, 2, kind)
    if position == "split z" and value.text.isidentifier():
        return  # a name set by the line of `split`
    name = writer.world.fresh_name("z")
    writer.scope.lines.append(f"{name} = {value.text}")
    writer.add_names(replace(value, text=name, level=ITEM, kind="local"))
