"""Expressions -> values of the growing graph: arithmetic, products, calls, operators."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from rnnc.grammar import syntax
from rnnc.grammar.diagnostics.diagnostic import Label
from rnnc.grammar.source import Span
from rnnc.operators.elaborate.context.graph_builder import Assembly
from rnnc.operators.elaborate.context.parameters import is_matrix_name
from rnnc.operators.elaborate.context.scope import Scope
from rnnc.operators.elaborate.context.values import (
    Literal,
    Matrix,
    Stop,
    SymbolVector,
    TupleValue,
    Value,
    Vector,
    Window,
)
from rnnc.operators.semantics.primitives import RESERVED_FUNCTIONS

from .name_resolution import Names
from .windows import all_present, both_present, filled, product, with_pointed

Apply = Callable[["Evaluator", str, Sequence[Value], Span], Value]
Call = Callable[["Evaluator", syntax.Name, syntax.Parentheses, Span], Value]

_OPERATIONS: Final = {"+": "add", "-": "subtract", "*": "multiply", "/": "divide"}


class Evaluator(Names):
    """Evaluates the expressions of one scope.

    `apply` applies an operator to values and `call` a function to arguments; they live in files of
    their own and come back here for the bodies.
    """

    def __init__(self, assembly: Assembly, scope: Scope, apply: Apply, call: Call) -> None:
        super().__init__(assembly, scope)
        self.apply, self.call = apply, call

    def evaluate_all(self, expressions: Sequence[syntax.Expression]) -> list[Value]:
        """The values of several expressions; the mistakes of all of them are reported."""
        values: list[Value] = []
        for expression in expressions:
            try:
                values.append(self.evaluate(expression))
            except Stop:
                continue
        if len(values) < len(expressions):
            raise Stop
        return values

    def evaluate(self, expression: syntax.Expression) -> Value:  # noqa: C901
        """The value of an expression.

        Raises:
            Stop: when it has none; the reason has been reported.
        """
        span = expression.span
        match expression:
            case syntax.Number(value):
                return Literal(value)
            case syntax.Name() as name:
                return self.name(name)
            case syntax.Primed(name):
                return self.variable(name, 0, span, prime=True)
            case syntax.Timed(name, time):
                return self.variable(name, -self.offset(time), span)
            case syntax.Windowed(name, first, last):
                return self.windowed(name, first, last, span)
            case syntax.Transposed(name):
                return self._transposed(name, span)
            case syntax.Parentheses(arguments):
                return self._parentheses(arguments, span)
            case syntax.Concatenation(parts):
                return self._concatenate(parts, span)
            case syntax.Run(items):
                return self._run(items)
            case syntax.Prefix(symbols, operand):
                return self._prefix(symbols, operand, span)
            case syntax.Chain(first, rest):
                return self._chain(first, rest, span)
            case syntax.Infix(symbols, operands):
                values = self.evaluate_all(operands)
                result = values.pop()
                while values:
                    result = self.apply(self, symbols[0].name, (values.pop(), result), span)
                return result
            case syntax.Power():
                return Literal(self.constant(expression))
            case _:
                self.fail(
                    "RNN102",
                    "a comparison cannot stand in an equation",
                    span,
                    hint="comparisons choose parts of a spec: `if layers > 1:`",
                )

    def _transposed(self, name: syntax.Name, span: Span) -> Value:
        value = self.evaluate(name)
        if isinstance(value, Window):
            return replace(value, transposed=not value.transposed)
        if not isinstance(value, Matrix) or value.draft.form == "diagonal":
            self.fail(
                "RNN305",
                f"`{name.span.text}` is not a matrix and has no transpose",
                span,
                hint="a weight matrix begins with a capital letter",
            )
        return Matrix(value.draft, not value.transposed)

    def _parentheses(self, arguments: tuple[syntax.Argument, ...], span: Span) -> Value:
        for argument in arguments:
            if argument.keyword is not None or argument.type is not None:
                self.fail(
                    "RNN102",
                    "a name with `=` or `:` stands only in a definition",
                    span,
                    hint="types and defaults stand left of the `=` of an `operator`",
                )
        if not arguments:
            self.fail(
                "RNN102",
                "there is nothing between these parentheses",
                span,
                hint="write a value, or delete them",
            )
        values = self.evaluate_all([argument.value for argument in arguments])
        return values[0] if len(values) == 1 else TupleValue(tuple(values))

    def _concatenate(self, parts: tuple[syntax.Expression, ...], span: Span) -> Value:
        vectors: list[Vector] = []
        for part, value in zip(parts, self.evaluate_all(parts), strict=True):
            if isinstance(value, SymbolVector):
                vectors.append(self.add("onehot", (value.operand,), value.size, part.span))
            else:
                vectors.append(self.partial(value, part.span))
        if len(vectors) == 1:
            return vectors[0]
        size = self.sizes.total(tuple(vector.size for vector in vectors))
        joined = self.add("concatenate", tuple(v.operand for v in vectors), size, span)
        return replace(joined, present=all_present(self, vectors, size, span))

    def _run(self, items: tuple[syntax.Expression, ...]) -> Value:
        values: list[tuple[Value, Span]] = []
        failed = False
        index = 0
        while index < len(items):
            item, span = items[index], items[index].span
            following = items[index + 1] if index + 1 < len(items) else None
            index += 1
            try:
                if (
                    isinstance(item, syntax.Name)
                    and isinstance(following, syntax.Parentheses)
                    and self._is_called(item)
                ):
                    index += 1
                    span = span.to(following.span)
                    values.append((self.call(self, item, following, span), span))
                else:
                    values.append((self.evaluate(item), span))
            except Stop:
                failed = True
        if failed:
            raise Stop
        result, right = values[-1]
        for value, left in reversed(values[:-1]):
            span = left.to(right)
            result = self._product(value, result, left, right, span)
            right = span
        return result

    def _is_called(self, name: syntax.Name) -> bool:
        scope, text = self.scope, name.name
        if text in scope.values or text in scope.variables or text in scope.sizes:
            return False
        if text in RESERVED_FUNCTIONS or scope.environment.is_defined(text):
            return True
        # An unbound small name before parentheses can only be a mistyped function.
        return not (is_matrix_name(text) or text in scope.annotations or text in scope.shared)

    def _product(self, left: Value, right: Value, a: Span, b: Span, span: Span) -> Vector:
        if isinstance(left, Window):
            return product(self, left, right, a, b, span)
        if not isinstance(left, Matrix):
            what = "a number" if isinstance(left, Literal) else "a vector"
            what = "a tuple" if isinstance(left, TupleValue) else what
            what = "a symbol" if isinstance(left, SymbolVector) else what
            hint = "write `*` or `⊙` for the elementwise product, `dot(a, b)` for the scalar one"
            declared = self.scope.variables.get(a.text)
            if declared is not None:
                what = f"an {declared.role}" if declared.role == "input" else "a state"
                if is_matrix_name(a.text):
                    hint = f"rename one of the two if `{a.text}` is to be a weight matrix here"
            self.fail(
                "RNN304",
                f"`{a.text}` is {what} and stands before a vector",
                a,
                "only a matrix can stand here",
                hint=hint,
                related=(Label(declared.span, "declared here"),) if declared else (),
            )
        draft = left.draft
        if draft.form == "diagonal":
            diagonal = Vector(self.parameter_node(draft, a), draft.rows)
            vector = self.vector(right, b)
            self.agree(diagonal.size, vector.size, span, a, b, draft)
            return self.add("multiply", (diagonal.operand, vector.operand), vector.size, span)
        rows, columns = draft.rows, draft.columns
        if left.transposed:
            rows, columns = columns, rows
        if isinstance(right, Matrix) and right.draft.form != "diagonal":
            self.fail(
                "RNN305",
                f"`{b.text}` is a matrix, with no vector right of it",
                b,
                hint="a product of matrices ends in a vector: `W1 W2 h`",
            )
        operation = "matmul"
        if isinstance(right, SymbolVector):
            operation, vector = "lookup", Vector(right.operand, right.size)
        else:
            vector = self.vector(right, b)
        self.agree(columns, vector.size, span, a, b, draft)
        weight = self.parameter_node(draft, a)
        return self.add(operation, (weight, vector.operand), rows, span, (left.transposed,))

    def _prefix(
        self, symbols: tuple[syntax.Symbol | None, ...], operand: syntax.Expression, span: Span
    ) -> Value:
        value = self.evaluate(operand)
        for symbol in reversed(symbols):
            if symbol is not None:
                value = self.apply(self, symbol.name, (value,), span)
            elif isinstance(value, Literal):
                value = Literal(-value.value)
            else:
                vector = self.partial(value, operand.span)
                negative = self.add("negate", (vector.operand,), vector.size, span)
                value = replace(negative, present=vector.present)
        return value

    def _chain(
        self,
        first: syntax.Expression,
        rest: tuple[tuple[str, syntax.Expression], ...],
        span: Span,
    ) -> Value:
        values = self.evaluate_all([first, *(operand for _, operand in rest)])
        result, left = values[0], first.span
        for (sign, operand), value in zip(rest, values[1:], strict=True):
            joined = left.to(operand.span)
            if isinstance(result, Literal) and isinstance(value, Literal):
                result = self._fold(sign, result, value, joined, operand.span)
            else:
                result = self._arithmetic(sign, result, value, left, operand.span)
            left = joined
        return result

    def _fold(self, sign: str, a: Literal, b: Literal, span: Span, right: Span) -> Literal:
        pair = syntax.Number(a.value, span), syntax.Number(b.value, right)
        chain = syntax.Chain(pair[0], ((sign, pair[1]),), span)  # type: ignore[arg-type]
        return Literal(self.constant(chain))

    def _arithmetic(self, sign: str, a: Value, b: Value, left: Span, right: Span) -> Vector:
        if sign not in _OPERATIONS:
            self.fail(
                "RNN102",
                f"`{sign}` is for constants only",
                right,
                hint="vectors are divided entry by entry with `/`",
            )
        x, y = self.partial(a, left), self.partial(b, right)
        size, span = self.broadcast(x, y, left, right), left.to(right)
        if sign == "/":
            y = filled(self, y, right)
        result = self.add(_OPERATIONS[sign], (x.operand, y.operand), size, span)
        result = replace(result, present=both_present(self, [x, y], size, span))
        if sign in {"*", "/"}:
            marked = [with_pointed(x), with_pointed(y)]
            result = replace(result, pointed=both_present(self, marked, size, span))
        return result
