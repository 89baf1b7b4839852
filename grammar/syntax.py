"""Syntax tree: one immutable type per construct, each with its span in the text.

Names are kept in their canonical ASCII spelling (`h₁` is `h_1`, `(+)_l` is `⊕_l`); the span has
the original text. Chains of one precedence stay flat, so that a tree is as deep as its brackets.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from .source import Span


@dataclass(frozen=True, slots=True)
class Name:
    """`h`, `W_1`, or `z_{l-1}`, whose `indices` are evaluated during expansion."""

    name: str
    span: Span
    indices: tuple[Expression, ...] = ()


@dataclass(frozen=True, slots=True)
class Symbol:
    """Free operator with its subscript: `⊕`, `▷_2`, `⊕_{l+1}`."""

    name: str
    fixity: Literal["infix", "prefix"]
    span: Span
    indices: tuple[Expression, ...] = ()


@dataclass(frozen=True, slots=True)
class Number:
    """Literal; integers stay integers."""

    value: int | float
    span: Span


@dataclass(frozen=True, slots=True)
class Primed:
    """`h'`: the value after the step."""

    name: Name
    span: Span


@dataclass(frozen=True, slots=True)
class Timed:
    """`h[t-2]`: a variable at another time."""

    name: Name
    time: Expression
    span: Span


@dataclass(frozen=True, slots=True)
class Windowed:
    """`h[t-99..t]`: a matrix with one row per step."""

    name: Name
    first: Expression
    last: Expression
    span: Span


@dataclass(frozen=True, slots=True)
class Transposed:
    """`Wᵀ`."""

    name: Name
    span: Span


@dataclass(frozen=True, slots=True)
class Argument:
    """Item in parentheses: `x`, `x: real[m]`, or `layers = 2`."""

    value: Expression
    span: Span
    type: Type | None = None
    keyword: Name | None = None


@dataclass(frozen=True, slots=True)
class Parentheses:
    """`(a)`, a tuple `(a, b)`, or the arguments of a call."""

    arguments: tuple[Argument, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Concatenation:
    """`[a ; b]`."""

    parts: tuple[Expression, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Run:
    """Juxtaposition: products and calls, told apart by name resolution."""

    items: tuple[Expression, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Power:
    """`2**l`, of constants."""

    base: Expression
    exponent: Expression
    span: Span


@dataclass(frozen=True, slots=True)
class Prefix:
    """`▷ ▷_2 a`, `-a`: prefix operators, outermost first; `-` is None."""

    symbols: tuple[Symbol | None, ...]
    operand: Expression
    span: Span


@dataclass(frozen=True, slots=True)
class Chain:
    """`a + b - c` or `a ⊙ b / c`: operations of one precedence, left-associative."""

    first: Expression
    operations: tuple[tuple[Literal["+", "-", "*", "/", "//", "%"], Expression], ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Infix:
    """`x ⊕ y ⊕ h`: one free operator, right-associative."""

    symbols: tuple[Symbol, ...]
    operands: tuple[Expression, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Compare:
    """`layers > 1`, in a condition."""

    left: Expression
    comparator: Literal["<", "<=", ">", ">=", "==", "!="]
    right: Expression
    span: Span


@dataclass(frozen=True, slots=True)
class Logic:
    """`a and b`, `a or b`, `not a`, in a condition."""

    operator: Literal["and", "or", "not"]
    operands: tuple[Expression, ...]
    span: Span


Expression = (
    Name
    | Number
    | Primed
    | Timed
    | Windowed
    | Transposed
    | Parentheses
    | Concatenation
    | Run
    | Power
    | Prefix
    | Chain
    | Infix
    | Compare
    | Logic
)


@dataclass(frozen=True, slots=True)
class Type:
    """`real[400]`, `binary[88]`, `symbol[vocab]`, `real`."""

    kind: Literal["real", "binary", "symbol"]
    sizes: tuple[Expression, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Use:
    """`use lstm, gru from gated`."""

    names: tuple[Name, ...]
    module: Name
    span: Span


@dataclass(frozen=True, slots=True)
class Declaration:
    """`input x: T`, `state h: T = initial`, `output y: T at end unscored`."""

    role: Literal["input", "state", "output"]
    names: tuple[Name, ...]
    type: Type
    at_end: bool
    unscored: bool
    initial: Expression | None
    span: Span


@dataclass(frozen=True, slots=True)
class Parameter:
    """`param W, U: sparse(20), scale(1.0)`."""

    names: tuple[Name, ...]
    annotations: tuple[Type | Expression, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Equation:
    """`target [: type] = value`."""

    target: Expression
    type: Type | None
    value: Expression
    span: Span


@dataclass(frozen=True, slots=True)
class Result:
    """Last line of an operator's body."""

    value: Expression
    span: Span


@dataclass(frozen=True, slots=True)
class Law:
    """`law left ≈ right weight w`."""

    left: Expression
    right: Expression
    weight: Expression | None
    span: Span


@dataclass(frozen=True, slots=True)
class Loss:
    """`loss value weight w`."""

    value: Expression
    weight: Expression | None
    span: Span


@dataclass(frozen=True, slots=True)
class Operand:
    """Operand of an operator: a name with an optional type, or a tuple of operands."""

    span: Span
    name: Name | None = None
    type: Type | None = None
    parts: tuple[Operand, ...] = ()


@dataclass(frozen=True, slots=True)
class StaticParameter:
    """Parameter of a model or template, with its default if it has one."""

    name: Name
    default: Expression | None
    span: Span


@dataclass(frozen=True, slots=True)
class Operator:
    """Definition of an operator: its name, operands, template parameters and body."""

    name: Symbol | Name
    operands: tuple[Operand, ...]
    parameters: tuple[StaticParameter, ...]
    body: tuple[Statement, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Instance:
    """`operator ⊕₁, ⊕₂ = deep(layers = 3)`: one definition, separate parameters for each name."""

    names: tuple[Symbol | Name, ...]
    definition: Name
    arguments: tuple[Argument, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class For:
    """`for l in first..last:`, both ends included."""

    variable: Name
    first: Expression
    last: Expression
    body: tuple[Statement, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class If:
    """`if condition:` … `else:` …."""

    condition: Expression
    body: tuple[Statement, ...]
    orelse: tuple[Statement, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Model:
    """Model with its parameters; top-level statements of a file form one without a header."""

    name: str
    parameters: tuple[StaticParameter, ...]
    body: tuple[Statement, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class ErrorStatement:
    """Placeholder for a line that did not parse; its names are not reported again.

    `operators` are those that the line may have defined or imported.
    """

    names: frozenset[str]
    span: Span
    operators: frozenset[str] = frozenset()


Statement = (
    Use
    | Declaration
    | Parameter
    | Equation
    | Result
    | Law
    | Loss
    | Operator
    | Instance
    | For
    | If
    | Model
    | ErrorStatement
)


DefinitionStatement = Operator | Instance | For | If | ErrorStatement


@dataclass(frozen=True, slots=True)
class File:
    """Parsed file."""

    uses: tuple[Use, ...]
    operators: tuple[DefinitionStatement, ...]
    models: tuple[Model, ...]
    span: Span


def is_equivalent(left: object, right: object) -> bool:
    """Return true if two trees have the same meaning: equal up to spans and `σ` for `sigmoid`."""
    pairs = [(left, right)]
    while pairs:
        a, b = pairs.pop()
        if type(a) is not type(b):
            return False
        if isinstance(a, tuple) and isinstance(b, tuple):
            if len(a) != len(b):
                return False
            pairs += zip(a, b, strict=True)
        elif hasattr(a, "__dataclass_fields__"):
            fields = [name for name in a.__dataclass_fields__ if name != "span"]
            pairs += [(getattr(a, name), getattr(b, name)) for name in fields]
        elif a != b and {a, b} != {"sigmoid", "σ"}:
            return False
    return True


def walk(tree: object, leaves: tuple[type, ...] = ()) -> Iterator[object]:
    """Yield a node, or a tuple of nodes, and all nodes below; spans are left out.

    leaves: types of nodes that are yielded without the nodes below them.
    """
    pending = [tree]
    while pending:
        node = pending.pop()
        if isinstance(node, tuple):
            pending += node
        elif hasattr(node, "__dataclass_fields__") and not isinstance(node, Span):
            yield node
            if not isinstance(node, leaves):
                pending += [getattr(node, f) for f in node.__dataclass_fields__ if f != "span"]


def names_in(tree: object) -> Iterator[str]:
    """Yield the names of variables that a tree mentions, primed, timed or bare.

    Computed subscripts, operators, and types and keywords of arguments are left out.
    """
    for node in walk(tree, leaves=(Name, Symbol, Argument)):
        if isinstance(node, Name):
            yield node.name
        elif isinstance(node, Argument):
            yield from names_in(node.value)


def flatten_targets(target: Expression) -> Iterator[Expression]:
    """Yield the targets of a left side, tuples flattened."""
    if isinstance(target, Parentheses):
        for argument in target.arguments:
            yield from flatten_targets(argument.value)
    else:
        yield target
