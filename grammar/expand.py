"""Expand `for`, `if`, parameters and computed subscripts into plain statements.

Runs before all other analysis, so that later stages meet no static construct.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from rnnc.grammar.diagnostics.report import Report

from . import syntax
from .constant_eval import Constant, NotConstantError, evaluate_constant
from .source import Span
from .substitution import StaticValue, Substitution

EXPANSION_LIMIT: Final = 100_000
"""Maximal number of statements of an expanded block, and of iterations of its loops.

The longest block of the zoo has 32 statements: the limit stops a mistyped range.
"""


class _ExpansionLimitError(Exception):
    def __init__(self, span: Span) -> None:
        super().__init__(span)
        self.span = span


@dataclass(slots=True)
class _Expander:
    report: Report
    remaining: int = EXPANSION_LIMIT

    def expand_block(
        self,
        statements: Iterable[syntax.Statement],
        bindings: Mapping[str, StaticValue],
        loop_variables: frozenset[str],
    ) -> Iterable[syntax.Statement]:
        for statement in statements:
            if isinstance(statement, syntax.For):
                yield from self._expand_loop(statement, bindings, loop_variables)
            elif isinstance(statement, syntax.If):
                condition = self._evaluate_constant(statement.condition, bindings, loop_variables)
                if condition is None:
                    yield _error_statement(statement)
                    continue
                body = statement.body if condition else statement.orelse
                yield from self.expand_block(body, bindings, loop_variables)
            else:
                self.remaining -= 1
                if self.remaining < 0:
                    raise _ExpansionLimitError(statement.span)
                yield self._substitute_statement(statement, bindings, loop_variables)

    def _expand_loop(
        self, loop: syntax.For, bindings: Mapping[str, StaticValue], loop_variables: frozenset[str]
    ) -> Iterable[syntax.Statement]:
        variable = loop.variable.name
        if variable in bindings:
            self.report.error(
                "RNN202",
                f"`{variable}` already means something here",
                loop.variable.span,
                hint="choose another name for the loop's variable",
            )
            yield _error_statement(loop)
            return
        first = self._evaluate_constant(loop.first, bindings, loop_variables, require_integer=True)
        last = self._evaluate_constant(loop.last, bindings, loop_variables, require_integer=True)
        if first is None or last is None:
            yield _error_statement(loop)
            return
        for value in range(int(first), int(last) + 1):
            self.remaining -= 1
            if self.remaining < 0:
                raise _ExpansionLimitError(loop.span)
            yield from self.expand_block(
                loop.body, {**bindings, variable: value}, loop_variables | {variable}
            )

    def _evaluate_constant(
        self,
        expression: syntax.Expression,
        bindings: Mapping[str, StaticValue],
        loop_variables: frozenset[str],
        *,
        require_integer: bool = False,
    ) -> Constant | None:
        try:
            value = evaluate_constant(
                Substitution(bindings, loop_variables, self.report).substitute_expression(
                    expression
                )
            )
        except NotConstantError as error:
            self.report.error(
                "RNN213",
                error.reason,
                error.span,
                hint=_parameters_hint(bindings),
            )
            return None
        if require_integer and value != int(value):
            self.report.error(
                "RNN213",
                f"{value} is not an integer",
                expression.span,
                hint="a range goes from one integer to another: `1..layers`",
            )
            return None
        return value

    def _substitute_statement(
        self,
        statement: syntax.Statement,
        bindings: Mapping[str, StaticValue],
        loop_variables: frozenset[str],
    ) -> syntax.Statement:
        if not bindings:
            loop_variables = frozenset()
        if isinstance(statement, syntax.Operator):
            inner = {k: v for k, v in bindings.items() if k not in _bound_names(statement)}
            substitution = Substitution(
                inner, loop_variables & inner.keys(), self.report, defer_subscripts=True
            )
            body = self._substitute_body(statement.body, substitution)
            return replace(substitution.substitute(replace(statement, body=())), body=body)
        return Substitution(bindings, loop_variables, self.report).substitute(statement)

    def _substitute_body(
        self, body: tuple[syntax.Statement, ...], substitution: Substitution
    ) -> tuple[syntax.Statement, ...]:
        """Substitute in an operator's body, whose own loops wait for its arguments."""
        statements: list[syntax.Statement] = []
        for statement in body:
            match statement:
                case syntax.For(variable, first, last, inner, span):
                    expression = substitution.substitute_expression
                    without_variable = substitution.exclude(variable.name)
                    loop = self._substitute_body(inner, without_variable)
                    statements.append(
                        syntax.For(variable, expression(first), expression(last), loop, span)
                    )
                case syntax.If(condition, inner, orelse, span):
                    statements.append(
                        syntax.If(
                            substitution.substitute_expression(condition),
                            self._substitute_body(inner, substitution),
                            self._substitute_body(orelse, substitution),
                            span,
                        )
                    )
                case _:
                    statements.append(substitution.substitute(statement))
        return tuple(statements)


def _bound_names(operator: syntax.Operator) -> set[str]:
    names = {parameter.name.name for parameter in operator.parameters}
    operands = list(operator.operands)
    while operands:
        operand = operands.pop()
        operands += operand.parts
        if operand.name:
            names.add(operand.name.name)
    return names


def _error_statement(statement: syntax.Statement) -> syntax.ErrorStatement:
    """Replace a block that cannot be expanded; its names are reported no further."""
    names: set[str] = set()
    for node in syntax.walk(statement, leaves=(syntax.Name,)):
        if isinstance(node, syntax.Name):
            names |= {node.name, node.name.split("_")[0]}
    return syntax.ErrorStatement(frozenset(names), statement.span)


def _parameters_hint(bindings: Mapping[str, StaticValue]) -> str:
    listed = ", ".join(f"`{name}`" for name in sorted(bindings))
    available = f", here {listed}" if listed else "; there are none here: `model name(layers = 2):`"
    return f"ranges and conditions are made of numbers and parameters{available}"


def expand(
    statements: Iterable[syntax.Statement], bindings: Mapping[str, StaticValue], report: Report
) -> tuple[syntax.Statement, ...]:
    """Return a block's statements with loops unrolled, conditions chosen, `bindings` replaced.

    Reports constants that cannot be evaluated (RNN213) and more than `EXPANSION_LIMIT` statements
    (RNN214).
    """
    statements = tuple(statements)
    expander = _Expander(report)
    expanded: list[syntax.Statement] = []
    try:
        for statement in expander.expand_block(statements, bindings, frozenset()):
            expanded.append(statement)
    except _ExpansionLimitError as error:
        report.error(
            "RNN214",
            f"this block expands to more than {EXPANSION_LIMIT:,} statements",
            error.span,
            "here the limit is reached",
            hint="the limit guards against a mistyped range",
        )
        definition_types = (syntax.Operator, syntax.Instance, syntax.Declaration, syntax.Parameter)
        definitions = tuple(s for s in statements if isinstance(s, definition_types))
        return (*definitions, syntax.ErrorStatement(frozenset(), error.span))
    return tuple(expanded)
