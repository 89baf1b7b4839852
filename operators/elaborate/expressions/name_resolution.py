"""Names -> values: operands and locals, variables at their times, parameters, constants."""

from __future__ import annotations

from dataclasses import replace
from typing import NoReturn

from rnnc.grammar import syntax
from rnnc.grammar.constant_eval import Constant, Lookup, NotConstant, evaluate
from rnnc.grammar.diagnostics.suggestions import did_you_mean
from rnnc.grammar.source import Span
from rnnc.operators.analysis.state_reads import Read
from rnnc.operators.elaborate.context.parameters import Draft, is_bias_name, is_matrix_name
from rnnc.operators.elaborate.context.scope import Variable
from rnnc.operators.elaborate.context.size_expressions import size_of
from rnnc.operators.elaborate.context.size_inference import Dim
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
from rnnc.operators.graph.operator_graph import Operand
from rnnc.operators.semantics.primitives import RESERVED_FUNCTIONS

from .scoped_builder import Shapes
from .windows import LENGTH_LIMIT, window


def _at(t: int) -> Lookup:
    return lambda name: t if name.name == "t" else None


class Names(Shapes):
    """Resolves the names of one scope."""

    def constant(self, expression: syntax.Expression) -> Constant:
        """The value of an expression that must be a number."""
        try:
            return evaluate(expression, self._constant_name)
        except NotConstant as error:
            if self.scope.is_poisoned(error.name):
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
                hint="write `t` plus or minus an integer: `h[t-2]`"
                + ("; `[a ; b]` joins vectors" if isinstance(time, syntax.Name) else ""),
            )
        if abs(at[0]) > LENGTH_LIMIT:
            self.fail(
                "RNN406",
                f"`{time.span.text}` is {abs(at[0]):,} steps away",
                time.span,
                hint=f"a variable is read at most {LENGTH_LIMIT:,} steps earlier or later",
            )
        return int(at[0])

    def name(self, name: syntax.Name) -> Value:
        """The value of a bare name."""
        scope, text = self.scope, name.name
        if text in scope.values:
            value = scope.values[text]
            if value is None:
                raise Stop
            return value if scope.in_body else self._met(value, name.span)
        if text in scope.variables:
            return self.variable(name, None, name.span)
        if text in scope.sizes:
            return Literal(self.constant(name))
        if text in scope.pending:
            raise Stop
        draft = self.parameter(name)
        if draft is not None:
            return self._parameter_value(draft, name.span)
        self.unknown(name)

    def _parameter_value(self, draft: Draft, span: Span) -> Value:
        if draft.form == "vector":
            return Vector(self.parameter_node(draft, span), draft.rows)
        return Matrix(draft)

    def parameter(self, name: syntax.Name) -> Draft | None:
        """The parameter that a name stands for here, or None."""
        scope, text = self.scope, name.name
        table = self.assembly.parameters
        if text in scope.annotations:
            said = scope.annotations[text]
            if not scope.in_body:
                table.uses.setdefault(text, []).append((None, name.span))
        elif text in scope.shared:
            said = scope.shared[text]
            table.uses.setdefault(text, []).append((scope.operator, name.span))
            return table.find("", text, said, None, -1, said.span, self.size)
        elif text in RESERVED_FUNCTIONS or scope.environment.is_defined(text):
            return None
        elif scope.is_poisoned(text):
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
        value = size_of(expression, self.report, self._constant_name, self.scope.broken)
        return None if value is None else self.sizes.known(value)

    def unknown(self, name: syntax.Name) -> NoReturn:
        """Report a name that means nothing here."""
        scope, text = self.scope, name.name
        if scope.is_poisoned(text):
            raise Stop
        scope.poison(text)
        shown_name = name.span.text
        if text == "t":
            self.fail(
                "RNN201",
                "`t` stands only in brackets",
                name.span,
                hint="it marks the time of a variable, `h[t-1]`, and has no value",
            )
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
        if self.scope.is_poisoned(name.name):
            raise Stop
        self.scope.poison(name.name)
        known = {*RESERVED_FUNCTIONS, *self.scope.environment.names()}
        self.fail(
            "RNN206",
            f"`{name.span.text}` is neither a function nor an operator",
            name.span,
            hint=did_you_mean(name.name, known)
            or f"define it: `operator {name.span.text}(a, b) = …`",
        )

    def variable(
        self, name: syntax.Name, delay: int | None, span: Span, *, prime: bool = False
    ) -> Value:
        """A variable `delay` steps ago; None is its bare name, which means a time of its own."""
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

    def windowed(
        self, name: syntax.Name, first: syntax.Expression, last: syntax.Expression, span: Span
    ) -> Value:
        """`h[t-99..t]`: a variable at all times from one to another."""
        ends = self.offset(first), self.offset(last)
        if self.scope.in_law:
            self._no_window(span)
        variable = self.scope.variables.get(name.name)
        if variable is None or variable.role == "output":
            return self.variable(name, -ends[0] or 1, span)
        for end in dict.fromkeys(ends):
            if variable.role == "input":
                self._input(variable, -end, span, prime=False)
            else:
                self.assembly.reads.append(Read(name.name, -end, False, span))
        is_symbol = variable.type.kind == "symbol"
        return window(
            self, variable.node, variable.size, ends[0], ends[1], span, is_symbol=is_symbol
        )

    def _target(self, variable: Variable, span: Span) -> Value:
        """The next value of an input, predicted or not, in `loss`."""
        assembly, name = self.assembly, variable.name
        if name not in assembly.targets:
            operand = assembly.add("target", (), variable.size, span, (name,), shared=False)
            assembly.targets[name] = operand.node
        operand = Operand(assembly.targets[name])
        if variable.type.kind == "symbol":
            return SymbolVector(operand, variable.size, f"{name}'")
        return Vector(operand, variable.size)

    def _input(self, variable: Variable, delay: int, span: Span, *, prime: bool) -> Value:
        if self.scope.in_loss and (prime or delay == -1):
            return self._target(variable, span)
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
        still = self.add("stopgrad", (vector.operand,), vector.size, span)
        return replace(still, present=vector.present, pointed=vector.pointed)

    def _met(self, value: Value, span: Span) -> Value:
        """A local of the model as an equation reads it, or a law."""
        match value:
            case Vector():
                return self._frozen(value, span)
            case TupleValue(parts):
                return TupleValue(tuple(self._met(part, span) for part in parts))
            case Window() if self.scope.in_law:
                self._no_window(span)
            case _:
                return value

    def _no_window(self, span: Span) -> NoReturn:
        self.fail(
            "RNN113",
            "a law has no time, and so no window",
            span,
            hint="a law says how operators behave for the values of one step",
        )

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
                return self.name(name)
            self.fail(
                "RNN407",
                f"`{text}` is a local and has no other time than now",
                span,
                hint=f"declare `state {text}: …` and set `{text}'` to read earlier values",
            )
        if self.parameter(name) is not None and text not in RESERVED_FUNCTIONS:
            self.fail(
                "RNN407",
                f"`{text}` is a parameter and has no time",
                span,
                hint=f"it is the same at every step: write `{text}`",
            )
        self.unknown(name)
