"""Evaluate operators: bind operands, evaluate the body, look up parameters by path."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

from rnnc.grammar import syntax
from support.second_oracle.annotations import Annotation, annotations_in, unbound_form, word_of
from support.second_oracle.constants import number, size_of
from support.second_oracle.expressions import ExpressionEvaluator, fill
from support.second_oracle.functions import FUNCTIONS
from support.second_oracle.reading import Definition, OperatorScope, Static, expand_statements
from support.second_oracle.values import (
    Absent,
    Matrix,
    Symbol,
    Unsupported,
    Value,
    Vector,
    as_vector,
    constant,
    require_present,
)


class Parameters(Protocol):
    """Returns parameters by their name in a state_dict."""

    def parameter(
        self, name: str, annotation: Annotation | None, written: str
    ) -> Vector | Matrix: ...


class Body(ExpressionEvaluator):
    """The body of one operator application: no time, no variables, own parameters."""

    def __init__(
        self,
        parameters: Parameters,
        definition: Definition,
        path: str,
        operands: Sequence[Value],
        inside: tuple[syntax.Operator, ...] = (),
    ) -> None:
        operator = definition.operator
        if any(outer is operator for outer in inside):
            raise Unsupported(f"`{path}` uses itself")
        self._parameters, self._path, self._place = parameters, path, definition.home
        self._inside = (*inside, operator)
        self._values: dict[str, Value] = {}
        self._sizes: dict[str, int] = {}
        if len(operator.operands) != len(operands):
            raise Unsupported(f"{len(operands)} operands of `{path}`")
        for operand, value in zip(operator.operands, operands, strict=True):
            self._bind(operand, value)
        self._statements = instantiate_body(definition, self._sizes)
        self._said = annotations_in(self._statements)
        self._equations: dict[str, syntax.Equation] = {}
        for statement in self._statements:
            if isinstance(statement, syntax.Equation):
                for name in names_of(statement.target):
                    if name in self._sizes:
                        raise Unsupported(f"`{name}`, both a size and a local")
                    self._equations[name] = statement
            elif not isinstance(statement, syntax.Parameter | syntax.Result):
                raise Unsupported(f"`{statement.span.text}` in the body of an operator")

    def result(self) -> Value:
        """Evaluate the last line."""
        (last,) = (s for s in self._statements if isinstance(s, syntax.Result))
        value = self.value(last.value)
        return constant_of(value)

    def _bind(self, operand: syntax.Operand, value: Value) -> None:
        if operand.parts:
            parts = value if isinstance(value, tuple) else (value,)
            if isinstance(value, Absent):
                parts = (value,) * len(operand.parts)
            if len(parts) != len(operand.parts):
                raise Unsupported(f"a tuple of {len(parts)} for {len(operand.parts)} operands")
            for part, item in zip(operand.parts, parts, strict=True):
                self._bind(part, item)
            return
        assert operand.name is not None
        if isinstance(value, tuple):
            raise Unsupported(f"a tuple for the operand `{operand.name.name}`")
        value = constant_of(value)
        self._values[operand.name.name] = value
        if operand.type is not None and isinstance(value, Vector | Symbol):
            width = value.width if isinstance(value, Vector) else value.size
            match operand.type.sizes:
                case (syntax.Name(name),) if name not in self._sizes:
                    self._sizes[name] = width
                case _:
                    expected = size_of(operand.type, self._sizes)
                    if expected != width:
                        raise Unsupported(f"{width} entries for `{operand.span.text}`")

    def name(self, name: str) -> Value:
        if name not in self._values and name in self._equations:
            assign_locals(self._equations[name], self, self._values)
        if name in self._values:
            return require_present(self._values[name])
        if name in self._sizes:
            return self._sizes[name]
        return self._parameter(name)

    def _parameter(self, name: str) -> Value:
        if name in self._said:
            return self._parameters.parameter(f"{self._path}.{name}", self._said[name], name)
        if name in self._place.shared:
            return self._parameters.parameter(name, self._place.shared[name], name)
        if unbound_form(name) is None or self.is_operator(name):
            raise Unsupported(f"the name `{name}` in `{self._path}`")
        return self._parameters.parameter(f"{self._path}.{name}", None, name)

    def is_bound(self, name: str) -> bool:
        return name in self._values or name in self._equations or name in self._sizes

    def variable(self, name: str, offset: int, *, prime: bool) -> Value:
        raise Unsupported(f"time in the body of an operator: `{name}`")

    def window(self, name: str, first: int, last: int) -> Value:
        raise Unsupported(f"a window in the body of an operator: `{name}`")

    def is_operator(self, name: str) -> bool:
        return self._place.find(name) is not None

    def apply(self, name: str, operands: list[Value]) -> Value:
        path = f"{self._path}.{word_of(name)}"
        return apply_operator(self._parameters, self._place, name, path, operands, self._inside)


def apply_operator(
    parameters: Parameters,
    place: OperatorScope,
    name: str,
    path: str,
    operands: Sequence[Value],
    inside: tuple[syntax.Operator, ...] = (),
) -> Value:
    """Apply the operator of a name in a scope; `path` names its parameters."""
    return Body(parameters, place.resolve(name), path, operands, inside).result()


def constant_of(value: Value) -> Value:
    """Convert a number to a vector of one entry."""
    return constant(np.array([value])) if isinstance(value, int | float) else value


def instantiate_body(
    definition: Definition, sizes: Mapping[str, int]
) -> tuple[syntax.Statement, ...]:
    """Expand a definition's body for the sizes bound by its operands' types."""
    names: dict[str, Static] = dict(definition.arguments)
    for parameter in definition.operator.parameters:
        name = parameter.name.name
        if name not in names:
            assert parameter.default is not None
            names[name] = _default(parameter.default, {**sizes, **names})
    names |= {name: size for name, size in sizes.items() if name not in names}
    key = tuple(sorted(names.items()))
    if key not in definition.bodies:
        definition.bodies[key] = expand_statements(definition.operator.body, names)
    return definition.bodies[key]


def _default(expression: syntax.Expression, known: Mapping[str, Static]) -> Static:
    if isinstance(expression, syntax.Name) and expression.name not in known:
        if expression.name in FUNCTIONS:
            return expression.name
    elif isinstance(expression, syntax.Name):
        return known[expression.name]
    return number(expression, known)


def names_of(target: syntax.Expression) -> list[str]:
    """Return the bare names on a left side."""
    match target:
        case syntax.Name(name):
            return [name]
        case syntax.Parentheses(arguments):
            return [name for argument in arguments for name in names_of(argument.value)]
        case _:
            return []


def assign_locals(
    equation: syntax.Equation, scope: ExpressionEvaluator, values: dict[str, Value]
) -> None:
    """Evaluate an equation and assign its locals."""
    value = scope.value(equation.value)
    if equation.type is not None:
        value = check_size(value, size_of(equation.type), equation.target.span.text)
    for target, part in parts_of(equation.target, value):
        if isinstance(target, syntax.Name):
            values[target.name] = part


def check_size(value: Value, size: int, what: str) -> Vector:
    """Check a value against its annotated size; missing entries stay missing."""
    if isinstance(value, int | float):
        return fill(value, size, what)
    vector = as_vector(value, what)
    if vector.width != size:
        raise Unsupported(f"{vector.width} entries for the {size} of `{what}`")
    return vector


def parts_of(target: syntax.Expression, value: Value) -> list[tuple[syntax.Expression, Value]]:
    """Pair each name on a left side with its value."""
    if not isinstance(target, syntax.Parentheses):
        return [(target, value)]
    values = value if isinstance(value, tuple) else (value,)
    if len(values) != len(target.arguments):
        raise Unsupported(f"a tuple of {len(values)} for `{target.span.text}`")
    return [
        pair
        for argument, part in zip(target.arguments, values, strict=True)
        for pair in parts_of(argument.value, part)
    ]
