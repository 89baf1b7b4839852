"""The syntax tree: one immutable type per construct, each with its place in the text.

Names are kept in their canonical ASCII spelling (`h₁` is `h_1`, `(+)_l` is `⊕_l`); the span still
shows what was written. Chains of one precedence stay flat, so the depth of a tree is the nesting of
its brackets and nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .source import Span


@dataclass(frozen=True, slots=True)
class Name:
    """`h`, `W_1`, or `z_{l-1}`, whose `indices` are computed when the spec is expanded."""

    name: str
    span: Span
    indices: tuple[Expression, ...] = ()


@dataclass(frozen=True, slots=True)
class Symbol:
    """A free operator with its subscript: `⊕`, `▷_2`, `⊕_{l+1}`."""

    name: str
    fixity: Literal["infix", "prefix"]
    span: Span
    indices: tuple[Expression, ...] = ()


@dataclass(frozen=True, slots=True)
class Number:
    """A literal; integers stay integers."""

    value: int | float
    span: Span


@dataclass(frozen=True, slots=True)
class Primed:
    """`h'`: the value coming out of the step."""

    name: Name
    span: Span


@dataclass(frozen=True, slots=True)
class Timed:
    """`h[t-2]`: a variable at a time."""

    name: Name
    time: Expression
    span: Span


@dataclass(frozen=True, slots=True)
class Windowed:
    """`h[t-99..t]`: a matrix with one row a step."""

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
    """One part of a parenthesis: `x`, `x: real[m]`, or `layers = 2`."""

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
    """Items side by side: products and calls, told apart once names are known."""

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
    """`a + b - c` or `a ⊙ b / c`: one precedence, grouping to the left."""

    first: Expression
    operations: tuple[tuple[Literal["+", "-", "*", "/", "//", "%"], Expression], ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Infix:
    """`x ⊕ y ⊕ h`: one operator, grouping to the right."""

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
    """The last line of an operator's body."""

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
    """One operand of an operator: a name with an optional type, or a tuple of operands."""

    span: Span
    name: Name | None = None
    type: Type | None = None
    parts: tuple[Operand, ...] = ()


@dataclass(frozen=True, slots=True)
class StaticParameter:
    """A parameter of a model or a template, with its default where it has one."""

    name: Name
    default: Expression | None
    span: Span


@dataclass(frozen=True, slots=True)
class Operator:
    """A definition: what the operator `name` does with its operands."""

    name: Symbol | Name
    operands: tuple[Operand, ...]
    parameters: tuple[StaticParameter, ...]
    body: tuple[Statement, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Instance:
    """`operator ⊕₁, ⊕₂ = deep(layers = 3)`: one definition, own parameters for each name."""

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
    """A model with its parameters; a file's loose statements make one without a header."""

    name: str
    parameters: tuple[StaticParameter, ...]
    body: tuple[Statement, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class ErrorStatement:
    """A line that could not be read; what it names is not reported again.

    `operators` are those that it may have defined or taken over.
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
    """A parsed file."""

    uses: tuple[Use, ...]
    operators: tuple[DefinitionStatement, ...]
    models: tuple[Model, ...]
    span: Span


def is_equivalent(left: object, right: object) -> bool:
    """Whether two pieces of syntax mean the same; their places in the text do not count."""
    waiting = [(left, right)]
    while waiting:
        a, b = waiting.pop()
        if type(a) is not type(b):
            return False
        if isinstance(a, tuple) and isinstance(b, tuple):
            if len(a) != len(b):
                return False
            waiting += zip(a, b, strict=True)
        elif hasattr(a, "__dataclass_fields__"):
            fields = [name for name in a.__dataclass_fields__ if name != "span"]
            waiting += [(getattr(a, name), getattr(b, name)) for name in fields]
        elif a != b and {a, b} != {"sigmoid", "σ"}:
            return False
    return True
