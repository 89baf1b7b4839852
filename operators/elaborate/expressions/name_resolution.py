"""Names -> values: operands and locals, variables at their times, parameters, constants."""

from __future__ import annotations

from dataclasses import replace
from typing import NoReturn

from rnnc.grammar import syntax
from rnnc.grammar.constant_eval import Constant, ConstantLookup, NotConstantError, evaluate_constant
from rnnc.grammar.diagnostics.suggestions import did_you_mean
from rnnc.grammar.source import Span
from rnnc.operators.analysis.state_reads import StateRead
from rnnc.operators.elaborate.context.parameters import (
    UnsizedParameter,
    is_bias_name,
    is_matrix_name,
)
from rnnc.operators.elaborate.context.scope import Variable
from rnnc.operators.elaborate.context.size_expressions import evaluate_size
from rnnc.operators.elaborate.context.size_inference import Dim
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
from rnnc.operators.graph.operator_graph import Operand
from rnnc.operators.semantics.primitives import RESERVED_FUNCTIONS

from .scoped_builder import ScopedBuilder
from .windows import WINDOW_LENGTH_LIMIT, build_window


def _time_lookup(t: int) -> ConstantLookup:
    return lambda name: t if name.name == "t" else None


class NameResolver(ScopedBuilder):
    """Resolves the names of one scope."""

    def evaluate_constant(self, expression: syntax.Expression) -> Constant:
        """The value of an expression that must be a number."""
        try:
            return evaluate_constant(expression, self._lookup_constant)
        except NotConstantError as error:
            if self.scope.is_poisoned(error.name):
                raise ElaborationError from None
            self.fail(
                "RNN213",
                error.reason,
                error.span,
                hint="powers and sizes are made of numbers and parameters; a square is `x * x`",
            )

    def _lookup_constant(self, name: syntax.Name) -> Constant | None:
        dim = self.scope.sizes.get(name.name)
        return None if dim is None else self.sizes.value(dim)

    def time_offset(self, time: syntax.Expression) -> int:
        """The `k` of a time `t + k`."""
        try:
            at = [evaluate_constant(time, _time_lookup(t)) for t in (0, 1)]
        except NotConstantError:
            at = [0, 0]
        if at[1] - at[0] != 1 or at[0] != int(at[0]):
            self.fail(
                "RNN406",
                f"`{time.span.text}` is not a time",
                time.span,
                hint="write `t` plus or minus an integer: `h[t-2]`"
                + ("; `[a ; b]` joins vectors" if isinstance(time, syntax.Name) else ""),
            )
        if abs(at[0]) > WINDOW_LENGTH_LIMIT:
            self.fail(
                "RNN406",
                f"`{time.span.text}` is {abs(at[0]):,} steps away",
                time.span,
                hint=f"a variable is read at most {WINDOW_LENGTH_LIMIT:,} steps earlier or later",
            )
        return int(at[0])

    def resolve_name(self, name: syntax.Name) -> Value:
        """The value of a bare name."""
        scope, text = self.scope, name.name
        if text in scope.values:
            value = scope.values[text]
            if value is None:
                raise ElaborationError
            return value if scope.in_operator_body else self._read_local(value, name.span)
        if text in scope.variables:
            return self.resolve_variable(name, None, name.span)
        if text in scope.sizes:
            return Literal(self.evaluate_constant(name))
        if text in scope.pending_locals:
            raise ElaborationError
        draft = self.resolve_parameter(name)
        if draft is not None:
            return self._parameter_value(draft, name.span)
        self.report_unknown_name(name)

    def _parameter_value(self, draft: UnsizedParameter, span: Span) -> Value:
        if draft.form == "vector":
            return Vector(self.parameter_operand(draft, span), draft.rows)
        return Matrix(draft)

    def resolve_parameter(self, name: syntax.Name) -> UnsizedParameter | None:
        """The parameter that a name stands for here, or None."""
        scope, text = self.scope, name.name
        table = self.builder.parameter_table
        if text in scope.annotations:
            said = scope.annotations[text]
            if not scope.in_operator_body:
                table.uses.setdefault(text, []).append((None, name.span))
        elif text in scope.model_annotations:
            said = scope.model_annotations[text]
            table.uses.setdefault(text, []).append((scope.operator, name.span))
            return table.get_or_create("", text, said, None, -1, said.span, self.resolve_size)
        elif text in RESERVED_FUNCTIONS or scope.environment.is_defined(text):
            return None
        elif scope.is_poisoned(text):
            raise ElaborationError
        elif is_matrix_name(text) or is_bias_name(text):
            said = None
        else:
            return None
        return table.get_or_create(
            scope.path, text, said, scope.operator, scope.application, name.span, self.resolve_size
        )

    def resolve_size(self, expression: syntax.Expression) -> Dim | None:
        """The size that an expression of a type stands for; None when that was reported."""
        if isinstance(expression, syntax.Name) and expression.name in self.scope.sizes:
            return self.scope.sizes[expression.name]
        value = evaluate_size(
            expression, self.report, self._lookup_constant, self.scope.poisoned_names
        )
        return None if value is None else self.sizes.constant(value)

    def report_unknown_name(self, name: syntax.Name) -> NoReturn:
        """Report a name that means nothing here."""
        scope, text = self.scope, name.name
        if scope.is_poisoned(text):
            raise ElaborationError
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
        if text in scope.outer_variables:
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

    def report_unknown_function(self, name: syntax.Name) -> NoReturn:
        """Report a call of something that is no function."""
        if self.scope.is_poisoned(name.name):
            raise ElaborationError
        self.scope.poison(name.name)
        known = {*RESERVED_FUNCTIONS, *self.scope.environment.visible_names()}
        self.fail(
            "RNN206",
            f"`{name.span.text}` is neither a function nor an operator",
            name.span,
            hint=did_you_mean(name.name, known)
            or f"define it: `operator {name.span.text}(a, b) = …`",
        )

    def resolve_variable(
        self, name: syntax.Name, delay: int | None, span: Span, *, prime: bool = False
    ) -> Value:
        """A variable `delay` steps ago; None is its bare name, which means a time of its own."""
        scope, text = self.scope, name.name
        variable = scope.variables.get(text)
        if variable is None:
            return self._resolve_without_variable(name, delay, span, prime=prime)
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
            return self._resolve_input(variable, 0 if delay is None else delay, span, prime=prime)
        bare = delay is None
        steps = 1 if delay is None else delay
        self.builder.state_reads.append(StateRead(text, steps, bare, span))
        return self._stop_gradient(Vector(Operand(variable.node, steps), variable.size), span)

    def resolve_window(
        self, name: syntax.Name, first: syntax.Expression, last: syntax.Expression, span: Span
    ) -> Value:
        """`h[t-99..t]`: a variable at all times from one to another."""
        ends = self.time_offset(first), self.time_offset(last)
        if self.scope.in_law:
            self._report_window_in_law(span)
        variable = self.scope.variables.get(name.name)
        if variable is None or variable.role == "output":
            return self.resolve_variable(name, -ends[0] or 1, span)
        for end in dict.fromkeys(ends):
            if variable.role == "input":
                self._resolve_input(variable, -end, span, prime=False)
            else:
                self.builder.state_reads.append(StateRead(name.name, -end, False, span))
        is_symbol = variable.type.kind == "symbol"
        return build_window(
            self, variable.node, variable.size, ends[0], ends[1], span, is_symbol=is_symbol
        )

    def _resolve_target(self, variable: Variable, span: Span) -> Value:
        """The next value of an input, predicted or not, in `loss`."""
        assembly, name = self.builder, variable.name
        if name not in assembly.target_nodes:
            operand = assembly.add_node(
                "target", (), variable.size, span, (name,), deduplicate=False
            )
            assembly.target_nodes[name] = operand.node
        operand = Operand(assembly.target_nodes[name])
        if variable.type.kind == "symbol":
            return SymbolVector(operand, variable.size, f"{name}'")
        return Vector(operand, variable.size)

    def _resolve_input(self, variable: Variable, delay: int, span: Span, *, prime: bool) -> Value:
        if self.scope.in_loss and (prime or delay == -1):
            return self._resolve_target(variable, span)
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
        return self._stop_gradient(Vector(operand, variable.size), span)

    def _stop_gradient(self, vector: Vector, span: Span) -> Vector:
        # A law shapes the operators, not the trajectory: what it reads counts as constant.
        if not self.scope.in_law:
            return vector
        still = self.add_vector("stopgrad", (vector.operand,), vector.size, span)
        return replace(still, mask=vector.mask, log_mask=vector.log_mask)

    def _read_local(self, value: Value, span: Span) -> Value:
        """A local of the model as an equation reads it, or a law."""
        match value:
            case Vector():
                return self._stop_gradient(value, span)
            case TupleValue(parts):
                return TupleValue(tuple(self._read_local(part, span) for part in parts))
            case Window() if self.scope.in_law:
                self._report_window_in_law(span)
            case _:
                return value

    def _report_window_in_law(self, span: Span) -> NoReturn:
        self.fail(
            "RNN113",
            "a law has no time, and so no window",
            span,
            hint="a law says how operators behave for the values of one step",
        )

    def _resolve_without_variable(
        self, name: syntax.Name, delay: int | None, span: Span, *, prime: bool
    ) -> Value:
        text = name.name
        if self.scope.in_operator_body and (
            text in self.scope.values or text in self.scope.outer_variables
        ):
            self.fail(
                "RNN113",
                "there is no time in the body of an operator",
                span,
                hint="a body sees the values of one step; pass another one as an operand",
            )
        if text in self.scope.values:
            if delay == 0 and not prime:
                return self.resolve_name(name)
            self.fail(
                "RNN407",
                f"`{text}` is a local and has no other time than now",
                span,
                hint=f"declare `state {text}: …` and set `{text}'` to read earlier values",
            )
        if self.resolve_parameter(name) is not None and text not in RESERVED_FUNCTIONS:
            self.fail(
                "RNN407",
                f"`{text}` is a parameter and has no time",
                span,
                hint=f"it is the same at every step: write `{text}`",
            )
        self.report_unknown_name(name)
