"""Evaluate expressions to values of the graph: arithmetic, products, calls, operators."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from rnnc.grammar import syntax
from rnnc.grammar.diagnostics.diagnostic import Label
from rnnc.grammar.source import Span
from rnnc.operators.elaborate.context.graph_builder import GraphBuilder
from rnnc.operators.elaborate.context.parameters import is_matrix_name
from rnnc.operators.elaborate.context.scope import Scope
from rnnc.operators.elaborate.context.values import (
    ElaborationError,
    Literal,
    Matrix,
    SymbolVector,
    TupleValue,
    Value,
    Vector,
    Window,
)
from rnnc.operators.semantics.primitives import RESERVED_FUNCTIONS

from .name_resolution import NameResolver
from .windows import (
    concatenate_masks,
    fill_missing,
    intersect_masks,
    multiply_window,
    with_log_mask,
)

ApplyOperator = Callable[["Evaluator", str, Sequence[Value], Span], Value]
CallFunction = Callable[["Evaluator", syntax.Name, syntax.Parentheses, Span], Value]

_ARITHMETIC_OPS: Final = {"+": "add", "-": "subtract", "*": "multiply", "/": "divide"}


class Evaluator(NameResolver):
    """Evaluator of the expressions of one scope.

    `apply_operator` and `call_function` are passed in, since they evaluate bodies with an
    Evaluator themselves.
    """

    def __init__(
        self,
        builder: GraphBuilder,
        scope: Scope,
        apply_operator: ApplyOperator,
        call_function: CallFunction,
    ) -> None:
        super().__init__(builder, scope)
        self.apply_operator, self.call_function = apply_operator, call_function

    def evaluate_all(self, expressions: Sequence[syntax.Expression]) -> list[Value]:
        """Evaluate several expressions, and report the mistakes of all of them."""
        values: list[Value] = []
        for expression in expressions:
            try:
                values.append(self.evaluate(expression))
            except ElaborationError:
                continue
        if len(values) < len(expressions):
            raise ElaborationError
        return values

    def evaluate(self, expression: syntax.Expression) -> Value:  # noqa: C901
        """Evaluate an expression.

        Raises:
            ElaborationError: if it has no value; the reason has been reported.
        """
        span = expression.span
        match expression:
            case syntax.Number(value):
                return Literal(value)
            case syntax.Name() as name:
                return self.resolve_name(name)
            case syntax.Primed(name):
                return self.resolve_variable(name, 0, span, prime=True)
            case syntax.Timed(name, time):
                return self.resolve_variable(name, -self.time_offset(time), span)
            case syntax.Windowed(name, first, last):
                return self.resolve_window(name, first, last, span)
            case syntax.Transposed(name):
                return self._evaluate_transpose(name, span)
            case syntax.Parentheses(arguments):
                return self._evaluate_parentheses(arguments, span)
            case syntax.Concatenation(parts):
                return self._concatenate(parts, span)
            case syntax.Run(items):
                return self._evaluate_juxtaposition(items)
            case syntax.Prefix(symbols, operand):
                return self._evaluate_prefix(symbols, operand, span)
            case syntax.Chain(first, operations):
                return self._evaluate_chain(first, operations, span)
            case syntax.Infix(symbols, operands):
                values = self.evaluate_all(operands)
                result = values.pop()
                while values:
                    result = self.apply_operator(
                        self, symbols[0].name, (values.pop(), result), span
                    )
                return result
            case syntax.Power():
                return Literal(self.evaluate_constant(expression))
            case _:
                self.fail(
                    "RNN102",
                    "a comparison cannot stand in an equation",
                    span,
                    hint="comparisons choose parts of a spec: `if layers > 1:`",
                )

    def _evaluate_transpose(self, name: syntax.Name, span: Span) -> Value:
        value = self.evaluate(name)
        if isinstance(value, Window):
            return replace(value, transposed=not value.transposed)
        if not isinstance(value, Matrix) or value.parameter.form == "diagonal":
            self.fail(
                "RNN305",
                f"`{name.span.text}` is not a matrix and has no transpose",
                span,
                hint="a weight matrix begins with a capital letter",
            )
        return Matrix(value.parameter, not value.transposed)

    def _evaluate_parentheses(self, arguments: tuple[syntax.Argument, ...], span: Span) -> Value:
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
                vectors.append(self.add_vector("onehot", (value.operand,), value.size, part.span))
            else:
                vectors.append(self.to_masked_vector(value, part.span))
        if len(vectors) == 1:
            return vectors[0]
        size = self.sizes.sum_sizes(tuple(vector.size for vector in vectors))
        concatenation = self.add_vector(
            "concatenate", tuple(v.operand for v in vectors), size, span
        )
        return replace(concatenation, mask=concatenate_masks(self, vectors, size, span))

    def _evaluate_juxtaposition(self, items: tuple[syntax.Expression, ...]) -> Value:
        values: list[tuple[Value, Span]] = []
        failed = False
        index = 0
        while index < len(items):
            item, span = items[index], items[index].span
            next_item = items[index + 1] if index + 1 < len(items) else None
            index += 1
            try:
                if (
                    isinstance(item, syntax.Name)
                    and isinstance(next_item, syntax.Parentheses)
                    and self._is_function_call(item)
                ):
                    index += 1
                    span = span.to(next_item.span)
                    values.append((self.call_function(self, item, next_item, span), span))
                else:
                    values.append((self.evaluate(item), span))
            except ElaborationError:
                failed = True
        if failed:
            raise ElaborationError
        result, right = values[-1]
        for value, left in reversed(values[:-1]):
            span = left.to(right)
            result = self._multiply_matrix(value, result, left, right, span)
            right = span
        return result

    def _is_function_call(self, name: syntax.Name) -> bool:
        scope, text = self.scope, name.name
        if text in scope.values or text in scope.variables or text in scope.sizes:
            return False
        if text in RESERVED_FUNCTIONS or scope.environment.is_defined(text):
            return True
        # An unbound lowercase name before parentheses can only be a mistyped function.
        return not (
            is_matrix_name(text) or text in scope.annotations or text in scope.model_annotations
        )

    def _multiply_matrix(self, left: Value, right: Value, a: Span, b: Span, span: Span) -> Vector:
        if isinstance(left, Window):
            return multiply_window(self, left, right, a, b, span)
        if not isinstance(left, Matrix):
            kind = "a number" if isinstance(left, Literal) else "a vector"
            kind = "a tuple" if isinstance(left, TupleValue) else kind
            kind = "a symbol" if isinstance(left, SymbolVector) else kind
            hint = "write `*` or `⊙` for the elementwise product, `dot(a, b)` for the scalar one"
            variable = self.scope.variables.get(a.text)
            if variable is not None:
                kind = f"an {variable.role}" if variable.role == "input" else "a state"
                if is_matrix_name(a.text):
                    hint = f"rename one of the two if `{a.text}` is to be a weight matrix here"
            self.fail(
                "RNN304",
                f"`{a.text}` is {kind} and stands before a vector",
                a,
                "only a matrix can stand here",
                hint=hint,
                related=(Label(variable.span, "declared here"),) if variable else (),
            )
        parameter = left.parameter
        if parameter.form == "diagonal":
            diagonal = Vector(self.parameter_operand(parameter, a), parameter.rows)
            vector = self.to_vector(right, b)
            self.unify(diagonal.size, vector.size, span, a, b, parameter)
            return self.add_vector(
                "multiply", (diagonal.operand, vector.operand), vector.size, span
            )
        rows, columns = parameter.rows, parameter.columns
        if left.transposed:
            rows, columns = columns, rows
        if isinstance(right, Matrix) and right.parameter.form != "diagonal":
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
            vector = self.to_vector(right, b)
        self.unify(columns, vector.size, span, a, b, parameter)
        weight = self.parameter_operand(parameter, a)
        return self.add_vector(operation, (weight, vector.operand), rows, span, (left.transposed,))

    def _evaluate_prefix(
        self, symbols: tuple[syntax.Symbol | None, ...], operand: syntax.Expression, span: Span
    ) -> Value:
        value = self.evaluate(operand)
        for symbol in reversed(symbols):
            if symbol is not None:
                value = self.apply_operator(self, symbol.name, (value,), span)
            elif isinstance(value, Literal):
                value = Literal(-value.value)
            else:
                vector = self.to_masked_vector(value, operand.span)
                negated = self.add_vector("negate", (vector.operand,), vector.size, span)
                value = replace(negated, mask=vector.mask)
        return value

    def _evaluate_chain(
        self,
        first: syntax.Expression,
        operations: tuple[tuple[str, syntax.Expression], ...],
        span: Span,
    ) -> Value:
        values = self.evaluate_all([first, *(operand for _, operand in operations)])
        result, left = values[0], first.span
        for (sign, operand), value in zip(operations, values[1:], strict=True):
            chain_span = left.to(operand.span)
            if isinstance(result, Literal) and isinstance(value, Literal):
                result = self._fold_constants(sign, result, value, chain_span, operand.span)
            else:
                result = self._add_arithmetic(sign, result, value, left, operand.span)
            left = chain_span
        return result

    def _fold_constants(
        self, sign: str, a: Literal, b: Literal, span: Span, right: Span
    ) -> Literal:
        pair = syntax.Number(a.value, span), syntax.Number(b.value, right)
        chain = syntax.Chain(pair[0], ((sign, pair[1]),), span)  # type: ignore[arg-type]
        return Literal(self.evaluate_constant(chain))

    def _add_arithmetic(self, sign: str, a: Value, b: Value, left: Span, right: Span) -> Vector:
        if sign not in _ARITHMETIC_OPS:
            self.fail(
                "RNN102",
                f"`{sign}` is for constants only",
                right,
                hint="vectors are divided entry by entry with `/`",
            )
        x, y = self.to_masked_vector(a, left), self.to_masked_vector(b, right)
        size, span = self.broadcast_size(x, y, left, right), left.to(right)
        if sign == "/":
            y = fill_missing(self, y, right)
        result = self.add_vector(_ARITHMETIC_OPS[sign], (x.operand, y.operand), size, span)
        result = replace(result, mask=intersect_masks(self, [x, y], size, span))
        if sign in {"*", "/"}:
            log_masked = [with_log_mask(x), with_log_mask(y)]
            result = replace(result, log_mask=intersect_masks(self, log_masked, size, span))
        return result
