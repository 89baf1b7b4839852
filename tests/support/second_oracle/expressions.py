"""Evaluate expressions at one step of one row; subclasses resolve names."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from rnnc.grammar import syntax
from rnnc.grammar.constant_eval import evaluate_constant
from support.second_oracle.constants import offset
from support.second_oracle.functions import CONSTANTS, FUNCTIONS, MASKED_FUNCTIONS, OPERANDS, call
from support.second_oracle.products import product
from support.second_oracle.values import (
    Absent,
    Matrix,
    Number,
    Symbol,
    Unsupported,
    Value,
    Vector,
    Window,
    add,
    as_full_vector,
    as_vector,
    concatenate,
    constant,
    divide,
    elementwise,
    multiply,
    slice_entries,
    subtract,
)

_ARITHMETIC = {"+": add, "-": subtract, "*": multiply, "/": divide}


class ExpressionEvaluator(ABC):
    """Evaluator of syntax; models and operator bodies resolve names differently."""

    @abstractmethod
    def name(self, name: str) -> Value:
        """Resolve a bare name."""

    @abstractmethod
    def is_bound(self, name: str) -> bool:
        """Test that a name is a value here, even if an operator has the same name."""

    @abstractmethod
    def variable(self, name: str, offset: int, *, prime: bool) -> Value:
        """Read a variable at `t + offset`."""

    @abstractmethod
    def window(self, name: str, first: int, last: int) -> Value:
        """Read a variable from `t + first` to `t + last`."""

    @abstractmethod
    def is_operator(self, name: str) -> bool:
        """Test that an operator of that name is defined here."""

    @abstractmethod
    def apply(self, name: str, operands: list[Value]) -> Value:
        """Apply an operator."""

    def value(self, expression: syntax.Expression) -> Value:
        """Evaluate an expression."""
        match expression:
            case syntax.Number(number):
                return number
            case syntax.Parentheses(arguments):
                return self._parentheses(arguments)
            case syntax.Concatenation(parts):
                return concatenate([self._part(part) for part in parts])
            case syntax.Run(items):
                return self._run(items, expression.span.text)
            case syntax.Prefix(symbols, operand):
                return self._prefix(symbols, operand)
            case syntax.Chain(first, terms):
                return self._chain(first, terms)
            case syntax.Infix(symbols, operands):
                values = [self._operand(operand) for operand in operands]
                result = values.pop()
                while values:
                    result = self.apply(symbols[0].name, [values.pop(), result])
                return result
            case syntax.Power():
                return evaluate_constant(expression)
            case _:
                return self._named(expression)

    def _named(self, expression: syntax.Expression) -> Value:
        match expression:
            case syntax.Name(name):
                return self.name(name)
            case syntax.Primed(syntax.Name(name)):
                return self.variable(name, 0, prime=True)
            case syntax.Timed(syntax.Name(name), time):
                return self.variable(name, offset(time), prime=False)
            case syntax.Windowed(syntax.Name(name), first, last):
                return self.window(name, offset(first), offset(last))
            case syntax.Transposed(syntax.Name(name)):
                return _transposed(self.name(name), name)
            case _:
                raise Unsupported(f"`{expression.span.text}` in an equation")

    def _parentheses(self, arguments: tuple[syntax.Argument, ...]) -> Value:
        if not arguments or any(a.keyword or a.type for a in arguments):
            raise Unsupported("parentheses with types, keywords or nothing in them")
        if len(arguments) == 1:
            return self.value(arguments[0].value)
        return tuple([self._operand(argument.value) for argument in arguments])

    def _operand(self, expression: syntax.Expression) -> Value:
        """Evaluate an operand; an absent value is returned, since it may not be needed."""
        try:
            return self.value(expression)
        except Absent as absent:
            return absent

    def _part(self, part: syntax.Expression) -> Vector:
        value = self.value(part)
        if isinstance(value, Symbol):
            hot = np.zeros(value.size)
            if value.symbol >= 0:
                hot[value.symbol] = 1
            return constant(hot)
        return as_vector(value, part.span.text)

    def _run(self, items: tuple[syntax.Expression, ...], text: str) -> Value:
        values: list[Value] = []
        index = 0
        while index < len(items):
            item = items[index]
            after = items[index + 1] if index + 1 < len(items) else None
            if (
                isinstance(item, syntax.Name)
                and isinstance(after, syntax.Parentheses)
                and self._is_called(item.name)
            ):
                values.append(self._call(item.name, after))
                index += 2
                continue
            values.append(self.value(item))
            index += 1
        result = values.pop()
        while values:
            result = product(values.pop(), result, text)
        return result

    def _is_called(self, name: str) -> bool:
        return not self.is_bound(name) and (name in FUNCTIONS or self.is_operator(name))

    def _call(self, name: str, arguments: syntax.Parentheses) -> Value:
        if any(a.keyword or a.type for a in arguments.arguments):
            raise Unsupported(f"arguments of `{name}` by name")
        operands = [argument.value for argument in arguments.arguments]
        if name not in FUNCTIONS:
            return self.apply(name, [self._operand(argument) for argument in operands])
        if name == "split":
            return self._split(operands)
        count = CONSTANTS.get(name, 0)
        if len(operands) != count + OPERANDS.get(name, 1):
            raise Unsupported(f"`{name}` of {len(operands)} arguments")
        numbers = [evaluate_constant(number) for number in operands[:count]]
        settle = as_vector if name in MASKED_FUNCTIONS else as_full_vector
        return call(name, numbers, [settle(self.value(e), e.span.text) for e in operands[count:]])

    def _split(self, operands: list[syntax.Expression]) -> Value:
        vector = as_vector(self.value(operands[0]), operands[0].span.text)
        parts: list[Value] = []
        start = 0
        for size in operands[1:]:
            stop = start + int(evaluate_constant(size))
            parts.append(slice_entries(vector, start, stop))
            start = stop
        if start != vector.width or len(parts) < 2:
            raise Unsupported(f"split of {vector.width} entries into {start}")
        return tuple(parts)

    def _prefix(
        self, symbols: tuple[syntax.Symbol | None, ...], operand: syntax.Expression
    ) -> Value:
        value = self._operand(operand) if symbols[-1] else self.value(operand)
        for symbol in reversed(symbols):
            if symbol is not None:
                value = self.apply(symbol.name, [value])
            elif isinstance(value, int | float):
                value = -value
            else:
                vector = as_vector(value, operand.span.text)
                value = elementwise(vector, lambda z: (-z, -np.ones_like(z)))
        return value

    def _chain(
        self, first: syntax.Expression, terms: tuple[tuple[str, syntax.Expression], ...]
    ) -> Value:
        result, text = self.value(first), first.span.text
        for sign, operand in terms:
            right = self.value(operand)
            if isinstance(result, int | float) and isinstance(right, int | float):
                result = _fold_constants(sign, result, right)
            elif sign in _ARITHMETIC:
                a, b = as_vector(result, text), as_vector(right, operand.span.text)
                result = _ARITHMETIC[sign](a, b, f"{text} {sign} {operand.span.text}")
            else:
                raise Unsupported(f"`{sign}` between vectors")
            text = f"{text} {sign} {operand.span.text}"
        return result


def _transposed(value: Value, name: str) -> Value:
    match value:
        case Matrix(entries, slope, "matrix" | "blocks" as form, transposed):
            return Matrix(entries, slope, form, not transposed)
        case Window(rows, size, is_symbol, transposed):
            return Window(rows, size, is_symbol, not transposed)
        case _:
            raise Unsupported(f"the transpose of `{name}`")


def _fold_constants(sign: str, a: Number, b: Number) -> Number:
    match sign:
        case "+":
            return a + b
        case "-":
            return a - b
        case "*":
            return a * b
        case "/":
            return a / b
        case "//":
            return a // b
        case _:
            return a % b


def fill(value: Value, size: int, what: str) -> Vector:
    """Convert a value to a vector of a size; a number is repeated."""
    if isinstance(value, int | float):
        return constant(np.full(size, float(value)))
    vector = as_full_vector(value, what)
    if vector.width != size:
        raise Unsupported(f"{vector.width} entries for the {size} of `{what}`")
    return vector
