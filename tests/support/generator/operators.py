"""Operators of a spec's own: definitions for given operands, and their bodies."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from support.generator.scope import Scope, SpecState
from support.generator.text import ITEM, Text

if TYPE_CHECKING:
    from support.generator.expressions import Writer

MAX_OPERATORS = 6
"""Operators of one spec, where those that it has can serve."""
MAX_DEPTH = 2
INFIX_SYMBOLS, PREFIX_SYMBOLS = "⊕⊗⊖⊞⊠", "▷◁△▽"
"""`⊛` is left to the loops of `recipes.py`, which number it."""
DIGITS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")


@dataclass(frozen=True)
class DefinedOperator:
    """An operator: how it is written, what it takes, and what it gives."""

    name: str
    fixity: str
    shapes: tuple[object, ...]
    result: Text


def operator(writer: Writer, fixity: str, operands: tuple[Text, ...]) -> tuple[str, Text]:
    """An operator for some operands: one that is there, or a new one."""
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
    """A symbol with a subscript of its own, or the name of a function."""
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
    wanted: tuple[str, str] | None = None,
) -> DefinedOperator:
    """Write a new operator into the file.

    plain: give one vector; result: the widths of what it gives; wanted: a position and a kind of
    operand that its body holds.
    """
    name = new_name(world, fixity)
    scope = Scope(world, [], place="body")
    heads = [_head(scope, operand) for operand in operands]
    world.depth += 1
    value = _body(scope, plain=plain, result=result, wanted=wanted)
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
    given = Text("", value.width, ITEM, value.form, parts=value.parts)
    defined = DefinedOperator(name, fixity, tuple(operand.shape for operand in operands), given)
    world.operators.append(defined)
    return defined


def _head(scope: Scope, operand: Text) -> str:
    """An operand as a definition names it."""
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
    scope: Scope, *, plain: bool, result: tuple[int, ...], wanted: tuple[str, str] | None
) -> Text:
    """Locals, and the result that comes last."""
    from support.generator.expressions import Writer

    world, writer = scope.world, Writer(scope)
    depth = 2 if world.depth < MAX_DEPTH else 0
    if wanted is not None and wanted[0] != "result":
        show(writer, *wanted)
    if world.flip(0.4) and depth:
        local(writer, depth)
    if not plain and not result and world.flip(0.2):
        result = (world.width(), world.width())
    if len(result) > 1:
        parts = [_result(writer, width, depth) for width in result]
        parts = [_with_operands(writer, part) for part in parts]
        return writer.tuple_of(parts)
    if wanted is not None and wanted[0] == "result":
        return writer.operand(1, wanted[1])
    value = _result(writer, result[0] if result else world.width(), depth)
    return _with_operands(writer, value)


def _with_operands(writer: Writer, value: Text) -> Text:
    """A result that depends on each operand and local, so that a use means what it says."""
    scope = writer.scope
    for read in list(scope.reads):
        text = "\n".join([*scope.lines, value.text])
        found = len(re.findall(rf"(?<!\w){read.text}(?!\w)", text))
        if found < (1 if read.kind == "operand" else 2) and read.form in {"vector", "symbol"}:
            more = writer.fit(read, value.width, known=True)
            # Damped, so that states that an operator adds up do not grow from step to step.
            value = Text(f"{value.at(1)} + 0.25 * {more.at(3)}", value.width, 1)
    return value


def _result(writer: Writer, width: int, depth: int) -> Text:
    """A value, bounded mostly."""
    value = writer.vector(width, depth, known=True)
    return writer.scope.squash(value) if writer.world.flip(0.7) else value


def local(writer: Writer, depth: int) -> Text:
    """A new local: its name."""
    value = writer.operand(depth)
    name = writer.world.fresh_name("z")
    typed = f": real[{value.width}]" if writer.world.flip(0.4) else ""
    writer.scope.lines.append(f"{name}{typed} = {value.text}")
    made = Text(name, value.width, kind="local")
    writer.add_names(made)
    return made


def show(writer: Writer, position: str, kind: str) -> None:
    """Write a local that has an operand of a kind in a position, in this scope."""
    if position == "tuple":
        parts = [writer.operand(2, kind), writer.operator_argument()]
        writer.rng.shuffle(parts)
        writer.take_apart(writer.tuple_of(parts))
        return
    value = writer.operand(2, kind) if position == "local" else writer.computed(position, 2, kind)
    if position == "split z" and value.text.isidentifier():
        return  # a name that the line of `split` has set
    name = writer.world.fresh_name("z")
    writer.scope.lines.append(f"{name} = {value.text}")
    writer.add_names(replace(value, text=name, level=ITEM, kind="local"))
