"""`for`, `if`, parameters and computed subscripts -> plain statements.

Everything that depends on parameters alone is settled here, before anything else looks at a spec.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final, TypeVar, cast

from rnnc.grammar.diagnostics.report import Report

from . import syntax
from .constant_eval import Constant, NotConstant, evaluate
from .source import Span

EXPANSION_LIMIT: Final = 100_000
"""Statements that one block may expand to, and steps that its loops may take."""

Bound = Constant | str
"""What a static name stands for: a number, or the name of a function."""

T = TypeVar("T")


class _TooLarge(Exception):
    def __init__(self, span: Span) -> None:
        super().__init__(span)
        self.span = span


@dataclass(slots=True)
class _Expander:
    report: Report
    budget: int = EXPANSION_LIMIT

    def block(
        self,
        statements: Iterable[syntax.Statement],
        names: Mapping[str, Bound],
        loops: frozenset[str],
    ) -> Iterable[syntax.Statement]:
        for statement in statements:
            if isinstance(statement, syntax.For):
                yield from self._for(statement, names, loops)
            elif isinstance(statement, syntax.If):
                chosen = self._constant(statement.condition, names, loops)
                if chosen is None:
                    yield _silenced(statement)
                    continue
                body = statement.body if chosen else statement.orelse
                yield from self.block(body, names, loops)
            else:
                self.budget -= 1
                if self.budget < 0:
                    raise _TooLarge(statement.span)
                yield self._statement(statement, names, loops)

    def _for(
        self, loop: syntax.For, names: Mapping[str, Bound], loops: frozenset[str]
    ) -> Iterable[syntax.Statement]:
        variable = loop.variable.name
        if variable in names:
            self.report.error(
                "RNN202",
                f"`{variable}` already means something here",
                loop.variable.span,
                hint="choose another name for the loop's variable",
            )
            yield _silenced(loop)
            return
        first = self._constant(loop.first, names, loops, whole=True)
        last = self._constant(loop.last, names, loops, whole=True)
        if first is None or last is None:
            yield _silenced(loop)
            return
        for value in range(int(first), int(last) + 1):
            self.budget -= 1
            if self.budget < 0:
                raise _TooLarge(loop.span)
            yield from self.block(loop.body, {**names, variable: value}, loops | {variable})

    def _constant(
        self,
        expression: syntax.Expression,
        names: Mapping[str, Bound],
        loops: frozenset[str],
        *,
        whole: bool = False,
    ) -> Constant | None:
        try:
            value = evaluate(Substitution(names, loops, self.report).expression(expression))
        except NotConstant as error:
            self.report.error(
                "RNN213",
                error.reason,
                error.span,
                hint=_parameters_hint(names),
            )
            return None
        if whole and value != int(value):
            self.report.error(
                "RNN213",
                f"{value} is not an integer",
                expression.span,
                hint="a range goes from one integer to another: `1..layers`",
            )
            return None
        return value

    def _statement(
        self, statement: syntax.Statement, names: Mapping[str, Bound], loops: frozenset[str]
    ) -> syntax.Statement:
        if not names:
            loops = frozenset()
        if isinstance(statement, syntax.Operator):
            inner = {k: v for k, v in names.items() if k not in _bound_in(statement)}
            substitution = Substitution(inner, loops & inner.keys(), self.report, partial=True)
            body = self._inside(statement.body, substitution)
            return replace(substitution.generic(replace(statement, body=())), body=body)
        return Substitution(names, loops, self.report).generic(statement)

    def _inside(
        self, body: tuple[syntax.Statement, ...], substitution: Substitution
    ) -> tuple[syntax.Statement, ...]:
        """The body of an operator: names are replaced, its own loops wait for its arguments."""
        done: list[syntax.Statement] = []
        for statement in body:
            match statement:
                case syntax.For(variable, first, last, inner, span):
                    expression = substitution.expression
                    kept = substitution.without(variable.name)
                    loop = self._inside(inner, kept)
                    done.append(
                        syntax.For(variable, expression(first), expression(last), loop, span)
                    )
                case syntax.If(condition, inner, orelse, span):
                    done.append(
                        syntax.If(
                            substitution.expression(condition),
                            self._inside(inner, substitution),
                            self._inside(orelse, substitution),
                            span,
                        )
                    )
                case _:
                    done.append(substitution.generic(statement))
        return tuple(done)


def _bound_in(operator: syntax.Operator) -> set[str]:
    bound = {parameter.name.name for parameter in operator.parameters}
    operands = list(operator.operands)
    while operands:
        operand = operands.pop()
        operands += operand.parts
        if operand.name:
            bound.add(operand.name.name)
    return bound


def _silenced(statement: syntax.Statement) -> syntax.Broken:
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
    return syntax.Broken(frozenset(names), statement.span)


def _parameters_hint(names: Mapping[str, Bound]) -> str:
    known = ", ".join(f"`{name}`" for name in sorted(names))
    here = f", here {known}" if known else "; there are none here: `model name(layers = 2):`"
    return f"ranges and conditions are made of numbers and parameters{here}"


@dataclass(slots=True)
class Substitution:
    """Puts values in the place of static names, and numbers in the place of subscripts."""

    names: Mapping[str, Bound]
    loops: frozenset[str]
    report: Report
    partial: bool = False
    """Whether subscripts may wait: those of an operator's body may need its arguments."""

    def without(self, name: str) -> Substitution:
        """The same, with one name left alone."""
        if name not in self.names:
            return self
        names = {k: v for k, v in self.names.items() if k != name}
        return Substitution(names, self.loops - {name}, self.report, self.partial)

    def expression(self, expression: syntax.Expression) -> syntax.Expression:
        """An expression with every static name replaced."""
        if isinstance(expression, syntax.Name):
            name = cast(syntax.Name, self._name(expression))
            bound = self.names.get(name.name)
            if bound is None:
                return name
            if isinstance(bound, str):
                return syntax.Name(bound, name.span)
            return syntax.Number(bound, name.span)
        return self.generic(expression)

    def generic(self, node: T) -> T:
        """Any syntax node with its parts replaced; the same object where nothing changes."""
        if isinstance(node, syntax.Name | syntax.Symbol):
            return cast(T, self._name(node))
        if isinstance(node, syntax.Number | syntax.Broken | syntax.Use):
            return node
        changes: dict[str, object] = {}
        for field in node.__dataclass_fields__:  # type: ignore[attr-defined]
            if field == "span":
                continue
            old = getattr(node, field)
            new = self._part(old, names_only=field in _NAME_FIELDS)
            if new is not old:
                changes[field] = new
        return replace(node, **changes) if changes else node  # type: ignore[type-var]

    def _part(self, part: object, *, names_only: bool) -> object:
        if isinstance(part, tuple):
            new = tuple(self._part(item, names_only=names_only) for item in part)
            return part if all(a is b for a, b in zip(new, part, strict=True)) else new
        if part is None or isinstance(part, str | int | float | bool):
            return part
        if isinstance(part, syntax.Name) and not names_only:
            return self.expression(part)
        return self.generic(part)

    def _name(self, name: syntax.Name | syntax.Symbol) -> syntax.Name | syntax.Symbol:
        text = name.name
        if self.loops and "_" in text:
            head, *rest = text.split("_")
            rest = [str(self.names[part]) if part in self.loops else part for part in rest]
            text = "_".join([head, *rest])
        indices = tuple(self.expression(index) for index in name.indices)
        if not (self.partial and any(_waits(index) for index in indices)):
            text = "_".join([text, *(str(self._index(index)) for index in indices)])
            indices = ()
        if text == name.name and indices == name.indices:
            return name
        if isinstance(name, syntax.Symbol):
            return syntax.Symbol(text, name.fixity, name.span, indices)
        return syntax.Name(text, name.span, indices)

    def _index(self, index: syntax.Expression) -> int:
        try:
            value = evaluate(index)
        except NotConstant as error:
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


def _waits(index: syntax.Expression) -> bool:
    try:
        evaluate(index)
    except NotConstant:
        return True
    return False


# Fields whose names declare or call something, so that a static name must not replace them.
_NAME_FIELDS: Final = frozenset({"names", "name", "keyword", "variable", "definition", "target"})


def expand(
    statements: Iterable[syntax.Statement], names: Mapping[str, Bound], report: Report
) -> tuple[syntax.Statement, ...]:
    """The statements of a block with loops run, conditions chosen and `names` put in.

    Reports constants that cannot be computed (RNN213) and more than `EXPANSION_LIMIT` statements
    (RNN214).
    """
    statements = tuple(statements)
    expander = _Expander(report)
    done: list[syntax.Statement] = []
    try:
        for statement in expander.block(statements, names, frozenset()):
            done.append(statement)
    except _TooLarge as limit:
        report.error(
            "RNN214",
            f"this block expands to more than {EXPANSION_LIMIT:,} statements",
            limit.span,
            "here the limit is reached",
            hint="the limit guards against a mistyped range",
        )
        kept = (syntax.Operator, syntax.Instance, syntax.Declaration, syntax.Parameter)
        definitions = tuple(s for s in statements if isinstance(s, kept))
        return (*definitions, syntax.Broken(frozenset(), limit.span))
    return tuple(done)
