"""Resolve names to values: operands, locals, variables at their times, parameters, constants."""

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
    """Resolver of the names of one scope."""

    def evaluate_constant(self, expression: syntax.Expression) -> Constant:
        """Evaluate an expression that must be a number."""
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
        """Return the `k` of a time `t + k`."""
        try:
            offsets = [evaluate_constant(time, _time_lookup(t)) for t in (0, 1)]
        except NotConstantError:
            offsets = [0, 0]
        if offsets[1] - offsets[0] != 1 or offsets[0] != int(offsets[0]):
            self.fail(
                "RNN406",
                f"`{time.span.text}` is not a time",
                time.span,
                hint="write `t` plus or minus an integer: `h[t-2]`"
                + ("; `[a ; b]` joins vectors" if isinstance(time, syntax.Name) else ""),
            )
        if abs(offsets[0]) > WINDOW_LENGTH_LIMIT:
            self.fail(
                "RNN406",
                f"`{time.span.text}` is {abs(offsets[0]):,} steps away",
                time.span,
                hint=f"a variable is read at most {WINDOW_LENGTH_LIMIT:,} steps earlier or later",
            )
        return int(offsets[0])

    def resolve_name(self, name: syntax.Name) -> Value:
        """Return the value of a bare name."""
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
        parameter = self.resolve_parameter(name)
        if parameter is not None:
            return self._parameter_value(parameter, name.span)
        self.report_unknown_name(name)

    def _parameter_value(self, parameter: UnsizedParameter, span: Span) -> Value:
        if parameter.form == "vector":
            return Vector(self.parameter_operand(parameter, span), parameter.rows)
        return Matrix(parameter)

    def resolve_parameter(self, name: syntax.Name) -> UnsizedParameter | None:
        """Return the parameter that a name stands for here, or None."""
        scope, text = self.scope, name.name
        table = self.builder.parameter_table
        if text in scope.annotations:
            annotations = scope.annotations[text]
            if not scope.in_operator_body:
                table.uses.setdefault(text, []).append((None, name.span))
        elif text in scope.model_annotations:
            annotations = scope.model_annotations[text]
            table.uses.setdefault(text, []).append((scope.operator, name.span))
            return table.get_or_create(
                "", text, annotations, None, -1, annotations.span, self.resolve_size
            )
        elif text in RESERVED_FUNCTIONS or scope.environment.is_defined(text):
            return None
        elif scope.is_poisoned(text):
            raise ElaborationError
        elif is_matrix_name(text) or is_bias_name(text):
            annotations = None
        else:
            return None
        return table.get_or_create(
            scope.path,
            text,
            annotations,
            scope.operator,
            scope.application,
            name.span,
            self.resolve_size,
        )

    def resolve_size(self, expression: syntax.Expression) -> Dim | None:
        """Return the size of an expression in a type; None after a mistake, which is reported."""
        if isinstance(expression, syntax.Name) and expression.name in self.scope.sizes:
            return self.scope.sizes[expression.name]
        value = evaluate_size(
            expression, self.report, self._lookup_constant, self.scope.poisoned_names
        )
        return None if value is None else self.sizes.constant(value)

    def report_unknown_name(self, name: syntax.Name) -> NoReturn:
        """Report a name without a meaning here."""
        scope, text = self.scope, name.name
        if scope.is_poisoned(text):
            raise ElaborationError
        scope.poison(text)
        source_text = name.span.text
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
                f"`{source_text}` needs its arguments in parentheses",
                name.span,
                hint=f"write `{source_text}(…)`",
            )
        if text in scope.outer_variables:
            self.fail(
                "RNN201",
                f"`{source_text}` is a variable of the model, which the body of an operator "
                "does not see",
                name.span,
                hint=f"make it an operand: `operator ({source_text}, x) ⊕ h = …`",
            )
        candidates = {*scope.values, *scope.variables, *scope.sizes, *scope.annotations}
        hint = did_you_mean(text, candidates) or (
            "weights begin with a capital letter and biases with `b`; any other parameter is "
            f"declared: `param {source_text}: vector`"
        )
        self.fail("RNN201", f"unknown name `{source_text}`", name.span, hint=hint)

    def report_unknown_function(self, name: syntax.Name) -> NoReturn:
        """Report a call of an unknown function."""
        if self.scope.is_poisoned(name.name):
            raise ElaborationError
        self.scope.poison(name.name)
        candidates = {*RESERVED_FUNCTIONS, *self.scope.environment.visible_names()}
        self.fail(
            "RNN206",
            f"`{name.span.text}` is neither a function nor an operator",
            name.span,
            hint=did_you_mean(name.name, candidates)
            or f"define it: `operator {name.span.text}(a, b) = …`",
        )

    def resolve_variable(
        self, name: syntax.Name, delay: int | None, span: Span, *, prime: bool = False
    ) -> Value:
        """Return a variable `delay` steps ago; with delay None the value of its bare name."""
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
        is_bare = delay is None
        steps = 1 if delay is None else delay
        self.builder.state_reads.append(StateRead(text, steps, is_bare, span))
        return self._stop_gradient(Vector(Operand(variable.node, steps), variable.size), span)

    def resolve_window(
        self, name: syntax.Name, first: syntax.Expression, last: syntax.Expression, span: Span
    ) -> Value:
        """Return the window `h[t-99..t]` of a variable."""
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
        """Return the next value of an input, which only `loss` lines have."""
        builder, name = self.builder, variable.name
        if name not in builder.target_nodes:
            operand = builder.add_node(
                "target", (), variable.size, span, (name,), deduplicate=False
            )
            builder.target_nodes[name] = operand.node
        operand = Operand(builder.target_nodes[name])
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
        # The loss of a law trains operators, not the trajectory: no gradient enters its operands.
        if not self.scope.in_law:
            return vector
        constant = self.add_vector("stopgrad", (vector.operand,), vector.size, span)
        return replace(constant, mask=vector.mask, log_mask=vector.log_mask)

    def _read_local(self, value: Value, span: Span) -> Value:
        """Return a local of the model as an equation, or a law, reads it."""
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
