"""`for`, `if`, parameters and computed subscripts -> plain statements.

Everything that depends on parameters alone is settled here, before anything else looks at a spec.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final, TypeVar, cast

from rnnc.grammar.diagnostics.report import Report

from . import syntax
from .constant_eval import Constant, NotConstantError, evaluate_constant
from .source import Span

EXPANSION_LIMIT: Final = 100_000
"""Statements that one block may expand to, and steps that its loops may take."""

StaticValue = Constant | str
"""What a static name stands for: a number, or the name of a function."""

T = TypeVar("T")


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
                chosen = self._evaluate_constant(statement.condition, bindings, loop_variables)
                if chosen is None:
                    yield _error_statement(statement)
                    continue
                body = statement.body if chosen else statement.orelse
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
        """The body of an operator: names are replaced, its own loops wait for its arguments."""
        done: list[syntax.Statement] = []
        for statement in body:
            match statement:
                case syntax.For(variable, first, last, inner, span):
                    expression = substitution.substitute_expression
                    kept = substitution.exclude(variable.name)
                    loop = self._substitute_body(inner, kept)
                    done.append(
                        syntax.For(variable, expression(first), expression(last), loop, span)
                    )
                case syntax.If(condition, inner, orelse, span):
                    done.append(
                        syntax.If(
                            substitution.substitute_expression(condition),
                            self._substitute_body(inner, substitution),
                            self._substitute_body(orelse, substitution),
                            span,
                        )
                    )
                case _:
                    done.append(substitution.substitute(statement))
        return tuple(done)


def _bound_names(operator: syntax.Operator) -> set[str]:
    bound = {parameter.name.name for parameter in operator.parameters}
    operands = list(operator.operands)
    while operands:
        operand = operands.pop()
        operands += operand.parts
        if operand.name:
            bound.add(operand.name.name)
    return bound


def _error_statement(statement: syntax.Statement) -> syntax.ErrorStatement:
    """Stands for a block that is not known to be there: none of its names is reported."""
    names: set[str] = set()
    waiting: list[object] = [statement]
    while waiting:
        item = waiting.pop()
        if isinstance(item, syntax.Name):
            names |= {item.name, item.name.split("_")[0]}
        elif isinstance(item, tuple):
            waiting += item
        elif hasattr(item, "__dataclass_fields__") and not isinstance(item, Span):
            waiting += [
                getattr(item, field) for field in item.__dataclass_fields__ if field != "span"
            ]
    return syntax.ErrorStatement(frozenset(names), statement.span)


def _parameters_hint(bindings: Mapping[str, StaticValue]) -> str:
    known = ", ".join(f"`{name}`" for name in sorted(bindings))
    here = f", here {known}" if known else "; there are none here: `model name(layers = 2):`"
    return f"ranges and conditions are made of numbers and parameters{here}"


@dataclass(slots=True)
class Substitution:
    """Puts values in the place of static names, and numbers in the place of subscripts."""

    bindings: Mapping[str, StaticValue]
    loop_variables: frozenset[str]
    report: Report
    defer_subscripts: bool = False
    """Whether subscripts may wait: those of an operator's body may need its arguments."""

    def exclude(self, name: str) -> Substitution:
        """The same, with one name left alone."""
        if name not in self.bindings:
            return self
        names = {k: v for k, v in self.bindings.items() if k != name}
        return Substitution(names, self.loop_variables - {name}, self.report, self.defer_subscripts)

    def substitute_expression(self, expression: syntax.Expression) -> syntax.Expression:
        """An expression with every static name replaced."""
        if isinstance(expression, syntax.Name):
            name = cast(syntax.Name, self._substitute_name(expression))
            bound = self.bindings.get(name.name)
            if bound is None:
                return name
            if isinstance(bound, str):
                return syntax.Name(bound, name.span)
            return syntax.Number(bound, name.span)
        return self.substitute(expression)

    def substitute(self, node: T) -> T:
        """Any syntax node with its parts replaced; the same object where nothing changes."""
        if isinstance(node, syntax.Name | syntax.Symbol):
            return cast(T, self._substitute_name(node))
        if isinstance(node, syntax.Number | syntax.ErrorStatement | syntax.Use):
            return node
        changes: dict[str, object] = {}
        for field in node.__dataclass_fields__:  # type: ignore[attr-defined]
            if field == "span":
                continue
            old = getattr(node, field)
            new = self._substitute_part(old, names_only=field in _NAME_FIELDS)
            if new is not old:
                changes[field] = new
        return replace(node, **changes) if changes else node  # type: ignore[type-var]

    def _substitute_part(self, part: object, *, names_only: bool) -> object:
        if isinstance(part, tuple):
            new = tuple(self._substitute_part(item, names_only=names_only) for item in part)
            return part if all(a is b for a, b in zip(new, part, strict=True)) else new
        if part is None or isinstance(part, str | int | float | bool):
            return part
        if isinstance(part, syntax.Name) and not names_only:
            return self.substitute_expression(part)
        return self.substitute(part)

    def _substitute_name(self, name: syntax.Name | syntax.Symbol) -> syntax.Name | syntax.Symbol:
        text = name.name
        if self.loop_variables and "_" in text:
            head, *rest = text.split("_")
            rest = [
                str(self.bindings[part]) if part in self.loop_variables else part for part in rest
            ]
            text = "_".join([head, *rest])
        indices = tuple(self.substitute_expression(index) for index in name.indices)
        if not (self.defer_subscripts and any(_is_deferred(index) for index in indices)):
            text = "_".join([text, *(str(self._evaluate_index(index)) for index in indices)])
            indices = ()
        if text == name.name and indices == name.indices:
            return name
        if isinstance(name, syntax.Symbol):
            return syntax.Symbol(text, name.fixity, name.span, indices)
        return syntax.Name(text, name.span, indices)

    def _evaluate_index(self, index: syntax.Expression) -> int:
        try:
            value = evaluate_constant(index)
        except NotConstantError as error:
            self.report.error(
                "RNN213",
                error.reason,
                error.span,
                hint="a computed subscript is made of numbers, parameters and loop variables",
            )
            return 0
        if value != int(value) or value < 0:
            self.report.error(
                "RNN213",
                f"{value} cannot be a subscript",
                index.span,
                hint="subscripts count from 0",
            )
            return 0
        return int(value)


def _is_deferred(index: syntax.Expression) -> bool:
    try:
        evaluate_constant(index)
    except NotConstantError:
        return True
    return False


# Fields whose names declare or call something, so that a static name must not replace them.
_NAME_FIELDS: Final = frozenset({"names", "name", "keyword", "variable", "definition", "target"})


def expand(
    statements: Iterable[syntax.Statement], bindings: Mapping[str, StaticValue], report: Report
) -> tuple[syntax.Statement, ...]:
    """The statements of a block with loops run, conditions chosen and `bindings` put in.

    Reports constants that cannot be computed (RNN213) and more than `EXPANSION_LIMIT` statements
    (RNN214).
    """
    statements = tuple(statements)
    expander = _Expander(report)
    done: list[syntax.Statement] = []
    try:
        for statement in expander.expand_block(statements, bindings, frozenset()):
            done.append(statement)
    except _ExpansionLimitError as limit:
        report.error(
            "RNN214",
            f"this block expands to more than {EXPANSION_LIMIT:,} statements",
            limit.span,
            "here the limit is reached",
            hint="the limit guards against a mistyped range",
        )
        kept = (syntax.Operator, syntax.Instance, syntax.Declaration, syntax.Parameter)
        definitions = tuple(s for s in statements if isinstance(s, kept))
        return (*definitions, syntax.ErrorStatement(frozenset(), limit.span))
    return tuple(done)
