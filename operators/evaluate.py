"""Expressions -> values of the growing graph: names, time, arithmetic, products."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, NoReturn

from ..grammar import syntax
from ..grammar.constants import Constant, Lookup, NotConstant, evaluate
from ..grammar.diagnostics import Label
from ..grammar.source import Span
from .assemble import Assembly
from .catalogue import RESERVED_FUNCTIONS
from .graph import Operand
from .naming import did_you_mean, shown
from .parameters import Draft, is_bias_name, is_matrix_name
from .scope import Scope, Variable
from .types import Conflict, Dim
from .values import Literal, Matrix, Read, Stop, SymbolVector, TupleValue, Value, Vector

Apply = Callable[["Evaluator", str, Sequence[Value], Span], Value]
Call = Callable[["Evaluator", syntax.Name, syntax.Parentheses, Span], Value]

_OPERATIONS: Final = {"+": "add", "-": "subtract", "*": "multiply", "/": "divide"}


def _at(t: int) -> Lookup:
    return lambda name: t if name.name == "t" else None


class Evaluator:
    """Evaluates the expressions of one scope.

    `apply` applies an operator to values and `call` a function to arguments; they live in files of
    their own and come back here for the bodies.
    """

    def __init__(self, assembly: Assembly, scope: Scope, apply: Apply, call: Call) -> None:
        self.assembly, self.scope, self.apply, self.call = assembly, scope, apply, call
        self.report, self.sizes = assembly.report, assembly.sizes

    def fail(
        self,
        code: str,
        message: str,
        span: Span,
        label: str = "",
        *,
        hint: str = "",
        related: tuple[Label, ...] = (),
    ) -> NoReturn:
        """Report an error and give the expression up."""
        self.report.error(code, message, span, label, hint=hint, related=related)
        raise Stop

    def add(
        self,
        operation: str,
        operands: tuple[Operand, ...],
        size: Dim,
        span: Span,
        attributes: tuple[int | float | str | bool, ...] = (),
        *,
        shared: bool = True,
    ) -> Vector:
        """A new value of this scope."""
        application = self.scope.application
        operand = self.assembly.add(
            operation, operands, size, span, attributes, application=application, shared=shared
        )
        return Vector(operand, self.assembly.nodes[operand.node].size if shared else size)

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

    def evaluate(self, expression: syntax.Expression) -> Value:
        """The value of an expression.

        Raises:
            Stop: when it has none; the reason has been reported.
        """
        span = expression.span
        match expression:
            case syntax.Number(value):
                return Literal(value)
            case syntax.Name() as name:
                return self._name(name)
            case syntax.Primed(name):
                return self._variable(name, 0, span, prime=True)
            case syntax.Timed(name, time):
                return self._variable(name, -self.offset(time), span)
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
                self.fail("RNN102", "a comparison cannot stand in an equation", span)

    def constant(self, expression: syntax.Expression) -> Constant:
        """The value of an expression that must be a number."""
        try:
            return evaluate(expression, self._constant_name)
        except NotConstant as error:
            if error.name in self.scope.broken:
                raise Stop from None
            self.fail(
                "RNN213",
                error.reason,
                error.span,
                hint="powers and sizes are made of numbers and parameters; a square is `x * x`",
            )

    def _constant_name(self, name: syntax.Name) -> Constant | None:
        dim = self.scope.sizes.get(name.name)
        return None if dim is None else self.sizes.value(dim)

    def offset(self, time: syntax.Expression) -> int:
        """The `k` of a time `t + k`."""
        try:
            at = [evaluate(time, _at(t)) for t in (0, 1)]
        except NotConstant:
            at = [0, 0]
        if at[1] - at[0] != 1 or at[0] != int(at[0]):
            self.fail(
                "RNN406",
                f"`{time.span.text}` is not a time",
                time.span,
                hint="write `t` plus or minus an integer: `h[t-2]`",
            )
        return int(at[0])

    def _name(self, name: syntax.Name) -> Value:
        scope, text = self.scope, name.name
        if text in scope.values:
            value = scope.values[text]
            if value is None:
                raise Stop
            return value
        if text in scope.variables:
            return self._variable(name, None, name.span)
        if text in scope.sizes:
            return Literal(self.constant(name))
        draft = self.parameter(name)
        if draft is not None:
            return self._parameter_value(draft, name.span)
        self.unknown(name)

    def _parameter_value(self, draft: Draft, span: Span) -> Value:
        if draft.form == "vector":
            return Vector(self.parameter_node(draft, span), draft.rows)
        return Matrix(draft)

    def parameter_node(self, draft: Draft, span: Span) -> Operand:
        """The node that stands for a parameter."""
        if draft.node < 0:
            operand = self.assembly.add(
                "parameter", (), draft.rows, span, (draft.path,), application=draft.application
            )
            draft.node = operand.node
        return Operand(draft.node)

    def parameter(self, name: syntax.Name) -> Draft | None:
        """The parameter that a name stands for here, or None."""
        scope, text = self.scope, name.name
        table = self.assembly.parameters
        if text in scope.annotations:
            said = scope.annotations[text]
        elif text in scope.shared:
            said = scope.shared[text]
            return table.find("", text, said, None, -1, said.span, self.size)
        elif text in RESERVED_FUNCTIONS or scope.environment.is_defined(text):
            return None
        elif text in scope.broken:
            raise Stop
        elif is_matrix_name(text) or is_bias_name(text):
            said = None
        else:
            return None
        return table.find(
            scope.path, text, said, scope.operator, scope.application, name.span, self.size
        )

    def size(self, expression: syntax.Expression) -> Dim | None:
        """The size that an expression of a type stands for; None when that was reported."""
        if isinstance(expression, syntax.Name) and expression.name in self.scope.sizes:
            return self.scope.sizes[expression.name]
        from .sizing import size_of

        value = size_of(expression, self.report, self._constant_name, self.scope.broken)
        return None if value is None else self.sizes.known(value)

    def unknown(self, name: syntax.Name) -> NoReturn:
        """Report a name that means nothing here."""
        scope, text = self.scope, name.name
        if text in scope.broken:
            raise Stop
        shown_name = name.span.text
        if text == "t":
            self.fail("RNN201", "`t` stands only in brackets: `h[t-1]`", name.span)
        if text in RESERVED_FUNCTIONS or scope.environment.is_defined(text):
            self.fail(
                "RNN207",
                f"`{shown_name}` needs its arguments in parentheses",
                name.span,
                hint=f"write `{shown_name}(…)`",
            )
        if text in scope.outside:
            self.fail(
                "RNN201",
                f"`{shown_name}` is a variable of the model, which the body of an operator "
                "does not see",
                name.span,
                hint=f"make it an operand: `operator ({shown_name}, x) ⊕ h = …`",
            )
        known = {*scope.values, *scope.variables, *scope.sizes, *scope.annotations}
        hint = did_you_mean(text, known) or (
            "weights begin with a capital letter and biases with `b`; any other parameter is "
            f"declared: `param {shown_name}: vector`"
        )
        self.fail("RNN201", f"unknown name `{shown_name}`", name.span, hint=hint)

    def unknown_function(self, name: syntax.Name) -> NoReturn:
        """Report a call of something that is no function."""
        if name.name in self.scope.broken:
            raise Stop
        known = {*RESERVED_FUNCTIONS, *self.scope.environment.names()}
        self.fail(
            "RNN206",
            f"`{name.span.text}` is neither a function nor an operator",
            name.span,
            hint=did_you_mean(name.name, known)
            or f"define it: `operator {name.span.text}(a, b) = …`",
        )

    def _variable(
        self, name: syntax.Name, delay: int | None, span: Span, *, prime: bool = False
    ) -> Value:
        scope, text = self.scope, name.name
        variable = scope.variables.get(text)
        if variable is None:
            return self._no_variable(name, delay, span, prime=prime)
        if variable.role == "output":
            self.fail(
                "RNN203",
                f"`{text}` is an output and cannot be read",
                span,
                "read here",
                hint=f"outputs are not fed back; declare `state {text}: {variable.type}` to read "
                "its last value",
            )
        if variable.role == "input":
            return self._input(variable, 0 if delay is None else delay, span, prime=prime)
        bare = delay is None
        steps = 1 if delay is None else delay
        self.assembly.reads.append(Read(text, steps, bare, span))
        return self._frozen(Vector(Operand(variable.node, steps), variable.size), span)

    def _input(self, variable: Variable, delay: int, span: Span, *, prime: bool) -> Value:
        if prime or delay < 0:
            self.fail(
                "RNN403",
                f"`{span.text}` is the future of an input",
                span,
                hint=f"`{variable.name}'` stands only left of an equation, as what is predicted; "
                f"the current input is `{variable.name}`",
            )
        operand = Operand(variable.node, delay)
        if variable.type.kind == "symbol":
            return SymbolVector(operand, variable.size, variable.name)
        return self._frozen(Vector(operand, variable.size), span)

    def _frozen(self, vector: Vector, span: Span) -> Vector:
        # A law shapes the operators, not the trajectory: what it reads counts as constant.
        if not self.scope.in_law:
            return vector
        return self.add("stopgrad", (vector.operand,), vector.size, span)

    def _no_variable(
        self, name: syntax.Name, delay: int | None, span: Span, *, prime: bool
    ) -> Value:
        text = name.name
        if self.scope.in_body and (text in self.scope.values or text in self.scope.outside):
            self.fail(
                "RNN113",
                "there is no time in the body of an operator",
                span,
                hint="a body sees the values of one step; pass another one as an operand",
            )
        if text in self.scope.values:
            if delay == 0 and not prime:
                return self._name(name)
            self.fail(
                "RNN407",
                f"`{text}` is a local and has no other time than now",
                span,
                hint=f"declare `state {text}: …` and set `{text}'` to read earlier values",
            )
        if self.parameter(name) is not None and text not in RESERVED_FUNCTIONS:
            self.fail("RNN407", f"`{text}` is a parameter and has no time", span)
        self.unknown(name)

    def _transposed(self, name: syntax.Name, span: Span) -> Value:
        value = self.evaluate(name)
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
                self.fail("RNN102", "a name with `=` or `:` stands only in a definition", span)
        if not arguments:
            self.fail("RNN102", "there is nothing between these parentheses", span)
        values = self.evaluate_all([argument.value for argument in arguments])
        return values[0] if len(values) == 1 else TupleValue(tuple(values))

    def _concatenate(self, parts: tuple[syntax.Expression, ...], span: Span) -> Value:
        vectors: list[Vector] = []
        for part, value in zip(parts, self.evaluate_all(parts), strict=True):
            if isinstance(value, SymbolVector):
                vectors.append(self.add("onehot", (value.operand,), value.size, part.span))
            else:
                vectors.append(self.vector(value, part.span))
        if len(vectors) == 1:
            return vectors[0]
        size = self.sizes.total(tuple(vector.size for vector in vectors))
        return self.add("concatenate", tuple(v.operand for v in vectors), size, span)

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
        if not isinstance(left, Matrix):
            what = "a number" if isinstance(left, Literal) else "a vector"
            what = "a tuple" if isinstance(left, TupleValue) else what
            what = "a symbol" if isinstance(left, SymbolVector) else what
            self.fail(
                "RNN304",
                f"`{a.text}` is {what} and stands before a vector",
                a,
                "only a matrix can stand here",
                hint="write `*` or `⊙` for the elementwise product, `dot(a, b)` for the scalar one",
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

    def agree(
        self, wanted: Dim, given: Dim, span: Span, a: Span, b: Span, draft: Draft | None = None
    ) -> None:
        """Make two sizes equal; where they cannot be, say which side is how wide and why."""
        try:
            self.sizes.unify(wanted, given)
        except Conflict as conflict:
            here = self.scope.application
            if draft is not None and draft.application not in {here, -1}:
                self.two_shapes(draft.application, here, conflict, draft.name)
            related = tuple(
                Label(origin.span, origin.text) for origin in conflict.origins if origin
            )
            message = f"`{a.text}` is {conflict.left} wide and `{b.text}` {conflict.right}"
            if draft is not None:
                message = (
                    f"`{a.text}` takes a vector of {conflict.left}, and `{b.text}` has "
                    f"{conflict.right}"
                )
            self.fail("RNN301", message, span, related=related)

    def two_shapes(self, first: int, second: int, conflict: Conflict, what: str) -> NoReturn:
        """Report one operator at two shapes, at the second use."""
        applications = self.assembly.applications
        now, before = applications[second], applications[first]
        if now.span in self.assembly.two_shaped:
            raise Stop
        self.assembly.two_shaped.add(now.span)
        name = shown(now.name)
        self.fail(
            "RNN302",
            f"`{name}` is used at two shapes: `{what}` would be {conflict.left} and "
            f"{conflict.right} wide",
            now.span,
            "second use",
            related=(Label(before.span, "first use"),),
            hint=f"uses of one operator share their parameters; make them two, such as `{name}₁` "
            f"and `{name}₂`"
            if name in "⊕⊗⊖⊛⊞⊠▷◁△▽"
            else f"uses of one operator share their parameters; define another one besides "
            f"`{name}`",
        )

    def vector(self, value: Value, span: Span) -> Vector:
        """A value as a real vector, or an error that says what it is instead."""
        match value:
            case Vector():
                return value
            case Literal(number):
                return self.add("constant", (), self.sizes.known(1), span, (float(number),))
            case Matrix(draft) if draft.form == "diagonal":
                return Vector(self.parameter_node(draft, span), draft.rows)
            case Matrix():
                self.fail(
                    "RNN305",
                    f"`{span.text}` is a matrix where a vector belongs",
                    span,
                    hint=f"multiply it: `{span.text} h`; or declare `param {span.text}: vector`",
                )
            case SymbolVector(name=name):
                self.fail(
                    "RNN306",
                    f"`{name}` is a symbol and cannot be computed with",
                    span,
                    hint=f"look it up in a matrix: `E {name}`",
                )
            case TupleValue(parts):
                self.fail(
                    "RNN307",
                    f"a tuple of {len(parts)} where one vector belongs",
                    span,
                    hint="take it apart: `(a, b) = …`",
                )

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
                vector = self.vector(value, operand.span)
                value = self.add("negate", (vector.operand,), vector.size, span)
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
            self.fail("RNN102", f"`{sign}` is for constants only", right)
        x, y = self.vector(a, left), self.vector(b, right)
        size = self.broadcast(x, y, left, right)
        return self.add(_OPERATIONS[sign], (x.operand, y.operand), size, left.to(right))

    def broadcast(self, x: Vector, y: Vector, left: Span, right: Span) -> Dim:
        """The width of an elementwise result: numbers go with every vector."""
        if self.sizes.value(x.size) == 1:
            return y.size
        if self.sizes.value(y.size) != 1:
            self.agree(x.size, y.size, left.to(right), left, right)
        return x.size
