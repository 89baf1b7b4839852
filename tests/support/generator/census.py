"""Count the constructs of a spec from its text: operand kinds by position.

It shares nothing with the generator but the names of kinds and positions, which follow from the
catalogue and from the syntax tree; a pair listed here that is never generated fails a test.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from rnnc.grammar import syntax
from rnnc.grammar.diagnostics.report import Report
from rnnc.grammar.parser import parse
from rnnc.grammar.source import Source
from rnnc.operators.elaborate.context.parameters import is_bias_name, is_matrix_name
from rnnc.operators.semantics.primitives import (
    ARITHMETIC_OPS,
    PRIMITIVES,
    PRIMITIVES_BY_NAME,
    RESERVED_FUNCTIONS,
)

INPUTS: Final = ("real", "binary", "symbol")
READS: Final = (
    *INPUTS, *(f"past {kind}" for kind in INPUTS),
    "state", "old state", "far state",
    "backward state", "next state", "far future", "backward past",
    "local", "part", "operand", "target", "target symbol",
)  # fmt: skip
"""Names of values: variables by their type and the step at which they are read."""

OTHERS: Final = ("vector", "bias", "diagonal", "number", "static", "window", "tuple", "fixed")
"""Parameters and constants; values that are no vectors; values of parameters alone."""

CALLS: Final = tuple(
    dict.fromkeys(
        "call random"
        if f.is_random
        else "call stopgrad"
        if f.name == "stopgrad"
        else f"call {f.shape_rule}"
        for f in PRIMITIVES
    )
)
RESULTS: Final = (
    "sum", "elementwise product", "quotient", "negation", "product", "transposed product",
    "diagonal product", "lookup", "scores", "mix", "concatenation", "infix", "prefix", "named",
)  # fmt: skip
"""Computed values by their operation."""

KINDS: Final = (*READS, *OTHERS, *CALLS, *RESULTS)

_SYMBOLS: Final = frozenset({"symbol", "past symbol", "target symbol"})
_BACKWARD: Final = frozenset({"backward state", "next state", "far future", "backward past"})
_TARGETS: Final = frozenset({"target", "target symbol"})


def _inner_positions() -> Iterator[str]:
    for function in PRIMITIVES:
        yield from (f"{function.name} {label}" for label in function.operands)
    yield "split z"
    for name, meaning in ARITHMETIC_OPS.items():
        if "b" in meaning.split():
            yield from (f"{name} left", f"{name} right")
        else:
            yield name
    yield from (
        "matrix right", "transposed right", "diagonal right", "window right",
        "window transposed right", "concatenation", "infix left", "infix right", "prefix", "call",
    )  # fmt: skip


INNER: Final = tuple(_inner_positions())
"""Positions inside expressions: operands of functions, arithmetic, products and operators."""

OUTER: Final = (
    "local", "state", "backward state", "prediction", "output", "output at end", "law left",
    "law right", "loss", "result", "tuple",
)  # fmt: skip
"""Positions of whole expressions."""

POSITIONS: Final = (*INNER, *OUTER)

_TAKE_SYMBOLS: Final = frozenset({
    "matrix right", "transposed right", "concatenation", "window right", "infix left",
    "infix right", "prefix", "call", "tuple", "local",
})  # fmt: skip
_TAKE_ANY: Final = frozenset({"infix left", "infix right", "prefix", "call", "tuple", "local"})
_ABOVE_ZERO: Final = frozenset({
    "call elementwise", "call same", "call scalar", "call stopgrad", "sum", "elementwise product",
    "quotient", "vector", "number", "static", "concatenation", "local", "part", "fixed",
})  # fmt: skip


def is_possible(position: str, kind: str) -> bool:
    """Test that the language allows an operand kind in a position, with finite values."""
    if kind in {"window", "tuple"}:
        return position in _TAKE_ANY or (position, kind) == ("result", "tuple")
    if kind in _SYMBOLS and position not in _TAKE_SYMBOLS:
        return False
    if position in {"log z", "sqrt z", "divide right"}:
        return kind in _ABOVE_ZERO
    if kind in _TARGETS:  # targets are readable in losses only, which set no line
        return position in {*INNER, "tuple"} - {"split z"} or (position, kind) == ("loss", "target")
    if position == "split z" and kind in {"number", "static", "call scalar"}:
        return False  # too narrow
    match position:
        case "prediction":
            return kind not in _BACKWARD | {"operand"}
        case "result":  # a body has no time, and its operands no types
            return kind not in {*READS, "static", "lookup"} or kind in {"operand", "local", "part"}
        case "backward state":  # it depends on its own future, or would run forward
            return kind in {*CALLS, *RESULTS, "next state", "far future", "local", "part"} - {
                "lookup",
            }
        case "law left" | "law right":  # a law has no time, and so no window
            return kind not in {"operand", "scores", "mix"}
        case "state" | "output" | "output at end":
            return kind != "operand"
        case "loss":
            return kind != "operand"
        case _:
            return True


PAIRS: Final = tuple((p, k) for p in POSITIONS for k in KINDS if is_possible(p, k))
"""Every possible pair of a position and an operand kind."""


@dataclass
class _Names:
    """The kinds of the names in one scope."""

    kinds: dict[str, str] = field(default_factory=dict)
    backward: frozenset[str] = frozenset()
    in_body: bool = False
    in_loss: bool = False


@dataclass
class Census:
    """The pairs of position and operand kind in one spec."""

    pairs: set[tuple[str, str]] = field(default_factory=set)


def census(text: str) -> Census:
    """Count the pairs of a spec."""
    counts = Census()
    file = parse(Source(text), Report())
    for statement in file.operators:
        if isinstance(statement, syntax.Operator):
            _operator(statement, {}, counts)
    for model in file.models:
        _model(model, counts)
    return counts


def _statements(block: tuple[syntax.Statement, ...]) -> Iterator[syntax.Statement]:
    for statement in block:
        yield statement
        if isinstance(statement, syntax.For | syntax.If):
            yield from _statements(statement.body)
        if isinstance(statement, syntax.If):
            yield from _statements(statement.orelse)


def _model(model: syntax.Model, counts: Census) -> None:
    statements = list(_statements(model.body))
    kinds: dict[str, str] = {p.name.name: "static" for p in model.parameters}
    ends: dict[str, str] = {}
    for statement in statements:
        if isinstance(statement, syntax.Declaration):
            for name in statement.names:
                role = statement.role if statement.role != "input" else statement.type.kind
                kinds[name.name] = role
                ends[name.name] = "output at end" if statement.at_end else "output"
    _parameters(statements, kinds)
    equations = [s for s in statements if isinstance(s, syntax.Equation)]
    names = _Names(kinds)
    names.backward = _backward(equations, kinds)
    for equation in equations:
        _locals(equation.target, equation.value, kinds)
    for equation in equations:
        _equation(equation, names, ends, counts)
    for statement in statements:
        match statement:
            case syntax.Operator():
                shared = {n: k for n, k in kinds.items() if k in {"vector", "diagonal", "matrix"}}
                _operator(statement, shared, counts)
            case syntax.Law(left, right):
                _count("law left", left, names, counts)
                _count("law right", right, names, counts)
            case syntax.Loss(value):
                _count("loss", value, _Names(kinds, names.backward, in_loss=True), counts)
            case _:
                pass


def _operator(operator: syntax.Operator, shared: Mapping[str, str], counts: Census) -> None:
    kinds = dict(shared) | {p.name.name: "static" for p in operator.parameters}

    def bind(operand: syntax.Operand) -> None:
        if operand.name is not None:
            kinds[operand.name.name] = "operand"
        for part in operand.parts:
            bind(part)

    for operand in operator.operands:
        bind(operand)
    statements = list(_statements(operator.body))
    _parameters(statements, kinds)
    names = _Names(kinds, in_body=True)
    for statement in statements:
        if isinstance(statement, syntax.Equation):
            _locals(statement.target, statement.value, kinds)
    for statement in statements:
        if isinstance(statement, syntax.Equation):
            _equation(statement, names, {}, counts)
        elif isinstance(statement, syntax.Result):
            _count("result", statement.value, names, counts)


def _parameters(statements: list[syntax.Statement], kinds: dict[str, str]) -> None:
    """Add the kinds of `param` names: vectors, diagonals and matrices."""
    for statement in statements:
        if not isinstance(statement, syntax.Parameter):
            continue
        for name in statement.names:
            words = {a.span.text.split("(")[0] for a in statement.annotations}
            sizes = [len(a.sizes) for a in statement.annotations if isinstance(a, syntax.Type)]
            kind = "matrix" if is_matrix_name(name.name) else "vector"
            if "diagonal" in words:
                kind = "diagonal"
            elif "vector" in words or 1 in sizes:
                kind = "bias" if is_bias_name(name.name) else "vector"
            elif 2 in sizes:
                kind = "matrix"
            kinds[name.name] = kind


def _locals(
    target: syntax.Expression, value: syntax.Expression, kinds: dict[str, str], part: bool = False
) -> None:
    match target:
        case syntax.Name(name) if name not in kinds:
            kinds[name] = "part" if part else "local"
            if isinstance(_bare(value), syntax.Windowed) and not part:
                kinds[name] = "window"
        case syntax.Parentheses(arguments):
            for argument in arguments:
                _locals(argument.value, value, kinds, True)
        case _:
            pass


def _backward(equations: list[syntax.Equation], kinds: Mapping[str, str]) -> frozenset[str]:
    """Return the states read at a later step, which are backward."""
    states: set[str] = set()
    bare: set[str] = set()
    for node in _walk(equations):
        if (
            isinstance(node, syntax.Timed | syntax.Windowed)
            and kinds.get(node.name.name) == "state"
        ):
            time = node.time if isinstance(node, syntax.Timed) else node.last
            if _step(time) > 0:
                states.add(node.name.name)
    # A state that reads backward states only at their own step is forward.
    return frozenset(states - bare)


def _walk(node: object) -> Iterator[object]:
    if isinstance(node, tuple | list):
        for part in node:
            yield from _walk(part)
    elif hasattr(node, "__dataclass_fields__"):
        yield node
        for name in node.__dataclass_fields__:
            if name != "span":
                yield from _walk(getattr(node, name))


def _step(time: syntax.Expression) -> int:
    text = time.span.text.replace(" ", "")
    return int(text[1:]) if text[1:].lstrip("+-").isdecimal() else 0


def _equation(
    equation: syntax.Equation, names: _Names, ends: Mapping[str, str], counts: Census
) -> None:
    _target(equation.target, equation.value, names, ends, counts)
    _inside(equation.value, names, counts)


def _target(
    target: syntax.Expression,
    value: syntax.Expression,
    names: _Names,
    ends: Mapping[str, str],
    counts: Census,
) -> None:
    value = _bare(value)
    match target:
        case syntax.Parentheses(arguments):
            parts = value.arguments if isinstance(value, syntax.Parentheses) else ()
            if len(parts) == len(arguments):
                for argument, part in zip(arguments, parts, strict=True):
                    _target(argument.value, part.value, names, ends, counts)
        case syntax.Primed(name) | syntax.Timed(name):
            role = names.kinds.get(name.name, "state")
            if role in INPUTS:
                position = "prediction"
            else:
                position = "backward state" if name.name in names.backward else "state"
            counts.pairs.update((position, kind) for kind in _kinds(value, names))
        case syntax.Name(name) if names.kinds.get(name) == "output":
            counts.pairs.update((ends[name], kind) for kind in _kinds(value, names))
        case _:
            counts.pairs.update(("local", kind) for kind in _kinds(value, names))


def _count(position: str, value: syntax.Expression, names: _Names, counts: Census) -> None:
    counts.pairs.update((position, kind) for kind in _kinds(value, names))
    _inside(value, names, counts)


def _bare(value: syntax.Expression) -> syntax.Expression:
    """Strip parentheses around an expression."""
    while isinstance(value, syntax.Parentheses) and len(value.arguments) == 1:
        value = value.arguments[0].value
    while isinstance(value, syntax.Run) and len(value.items) == 1:
        value = _bare(value.items[0])
    return value


def _inside(value: syntax.Expression, names: _Names, counts: Census) -> None:
    """Count every position inside an expression."""
    value = _bare(value)
    for position, operand in _operands(value, names):
        counts.pairs.update((position, kind) for kind in _kinds(operand, names))
        _inside(operand, names, counts)


def _operands(value: syntax.Expression, names: _Names) -> Iterator[tuple[str, syntax.Expression]]:
    match value:
        case syntax.Run(items):
            yield from _run(items, names)
        case syntax.Parentheses(arguments):
            yield from (("tuple", argument.value) for argument in arguments)
        case syntax.Concatenation(parts):
            yield from (("concatenation", part) for part in parts)
        case syntax.Prefix(symbols, operand):
            yield ("negate" if symbols[-1] is None else "prefix"), operand
        case syntax.Infix(_, operands):
            yield from (("infix left", operand) for operand in operands[:-1])
            yield "infix right", operands[-1]
        case syntax.Chain(first, terms):
            signs = {"+": "add", "-": "subtract", "*": "multiply", "/": "divide"}
            yield f"{signs[terms[0][0]]} left", first
            for sign, operand in terms:
                yield f"{signs[sign]} right", operand
        case _:
            pass


def _is_call(items: tuple[syntax.Expression, ...], names: _Names) -> bool:
    first = items[0]
    if len(items) < 2 or not isinstance(first, syntax.Name):
        return False
    if not isinstance(items[1], syntax.Parentheses) or first.name in names.kinds:
        return False
    return first.name in RESERVED_FUNCTIONS or not is_matrix_name(first.name)


def _run(
    items: tuple[syntax.Expression, ...], names: _Names
) -> Iterator[tuple[str, syntax.Expression]]:
    if _is_call(items, names):
        first, arguments = items[0], items[1]
        assert isinstance(first, syntax.Name)
        assert isinstance(arguments, syntax.Parentheses)
        operands = [argument.value for argument in arguments.arguments]
        function = PRIMITIVES_BY_NAME.get(first.name)
        if first.name == "split":
            yield "split z", operands[0]
        elif function is None:
            yield from (("call", operand) for operand in operands)
        else:
            operands = operands[len(function.constants) :]
            for label, operand in zip(function.operands, operands, strict=True):
                yield f"{function.name} {label}", operand
        return
    factors = items[1:]
    if not factors:
        return
    right = (
        factors[0]
        if len(factors) == 1
        else syntax.Run(factors, factors[0].span.to(factors[-1].span))
    )
    yield (
        {
            "scores": "window right",
            "mix": "window transposed right",
            "product": "matrix right",
            "transposed product": "transposed right",
            "diagonal product": "diagonal right",
        }[_left(items[0], names)],
        right,
    )


def _left(item: syntax.Expression, names: _Names) -> str:
    """Return the kind of product that starts with an item."""
    match item:
        case syntax.Transposed(name):
            is_window = names.kinds.get(name.name) in {"window", "operand", "part"}
            return "mix" if is_window else "transposed product"
        case syntax.Windowed():
            return "scores"
        case syntax.Name(name):
            kind = names.kinds.get(name, "matrix")
            return {"window": "scores", "operand": "scores", "part": "scores"}.get(
                kind, "diagonal product" if kind == "diagonal" else "product"
            )
        case _:
            return "product"


def _kinds(value: syntax.Expression, names: _Names) -> list[str]:
    """Return an expression's kind, and `fixed` if it depends on parameters alone."""
    value = _bare(value)
    kind = _kind(value, names)
    if kind in {*CALLS, *RESULTS} and _is_fixed(value, names):
        return [kind, "fixed"]
    return [kind]


def _is_fixed(value: syntax.Expression, names: _Names) -> bool:
    used_names = [node for node in _walk(value) if isinstance(node, syntax.Name)]
    kinds = [
        names.kinds.get(n.name, "matrix" if is_matrix_name(n.name) else "bias")
        for n in used_names
        if n.name not in RESERVED_FUNCTIONS
    ]
    timeless = not any(
        isinstance(n, syntax.Primed | syntax.Timed | syntax.Windowed | syntax.Symbol)
        for n in _walk(value)
    )
    fixed = {"vector", "bias", "diagonal", "matrix"}
    return timeless and bool({*kinds} - {"matrix"}) and set(kinds) <= fixed


def _kind(value: syntax.Expression, names: _Names) -> str:  # noqa: C901
    match value:
        case syntax.Number() | syntax.Power():
            return "number"
        case syntax.Primed(name):
            return _read(name.name, None if names.kinds.get(name.name) in INPUTS else 0, names)
        case syntax.Timed(name, time):
            step = _step(time)
            ahead = names.kinds.get(name.name) in INPUTS and step > 0
            return _read(name.name, None if ahead else step, names)
        case syntax.Windowed():
            return "window"
        case syntax.Name(name):
            role = names.kinds.get(name)
            if role in INPUTS:
                return str(role)
            if role == "state":
                return "old state"
            if role is None:
                return (
                    "bias" if is_bias_name(name) else "matrix" if is_matrix_name(name) else "local"
                )
            return role
        case syntax.Parentheses():
            return "tuple"
        case syntax.Concatenation():
            return "concatenation"
        case syntax.Prefix(symbols):
            if symbols[0] is not None:
                return "prefix"
            return "number" if isinstance(_bare(value.operand), syntax.Number) else "negation"
        case syntax.Infix():
            return "infix"
        case syntax.Chain(_, terms):
            if not any(isinstance(n, syntax.Name | syntax.Symbol) for n in _walk(value)):
                return "number"
            return {"/": "quotient", "*": "elementwise product"}.get(terms[-1][0], "sum")
        case syntax.Run(items):
            return _kind_of_run(items, names)
        case _:
            return "other"


def _kind_of_run(items: tuple[syntax.Expression, ...], names: _Names) -> str:
    if not _is_call(items, names):
        right = _bare(items[-1])
        kind = _left(items[0], names)
        if len(items) == 2 and kind.endswith("product") and _kind(right, names) in _SYMBOLS:
            return "lookup"
        return kind
    first = items[0]
    assert isinstance(first, syntax.Name)
    function = PRIMITIVES_BY_NAME.get(first.name)
    if function is None:
        return "tuple" if first.name == "split" else "named"
    if function.is_random:
        return "call random"
    return "call stopgrad" if first.name == "stopgrad" else f"call {function.shape_rule}"


def _read(name: str, step: int | None, names: _Names) -> str:
    """Return the kind of a variable read at a step; None is the target of an input."""
    role = names.kinds.get(name, "state")
    if role in INPUTS:
        if step is None:
            return "target symbol" if role == "symbol" else "target"
        return f"past {role}" if step else role
    if name in names.backward:
        assert step is not None
        if step < 0:
            return "backward past"
        return {0: "backward state", 1: "next state"}.get(step, "far future")
    assert step is not None
    return {0: "state", -1: "old state"}.get(step, "far state")
