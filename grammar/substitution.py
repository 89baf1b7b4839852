"""Substitute static names by their values, and computed subscripts by numbers.

Input: a syntax tree and values of parameters and loop variables; output: the tree with literals
in their place, sharing the nodes that do not change.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, TypeVar, cast

from rnnc.grammar.diagnostics.report import Report

from . import syntax
from .constant_eval import Constant, NotConstantError, evaluate_constant

StaticValue = Constant | str
"""Value of a static name: a number, or the name of a function."""

T = TypeVar("T")


@dataclass(slots=True)
class Substitution:
    """Values of static names, and the subscripts that they determine."""

    bindings: Mapping[str, StaticValue]
    loop_variables: frozenset[str]
    report: Report
    defer_subscripts: bool = False
    """Keep subscripts that are not constant yet: an operator's body may need its arguments."""

    def exclude(self, name: str) -> Substitution:
        """Return the substitution without one name."""
        if name not in self.bindings:
            return self
        names = {k: v for k, v in self.bindings.items() if k != name}
        return Substitution(names, self.loop_variables - {name}, self.report, self.defer_subscripts)

    def substitute_expression(self, expression: syntax.Expression) -> syntax.Expression:
        """Replace every static name in an expression."""
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
        """Replace static names below a node; return the same object if nothing changes."""
        if isinstance(node, syntax.Name | syntax.Symbol):
            return cast(T, self._substitute_name(node))
        if isinstance(node, syntax.Number | syntax.ErrorStatement | syntax.Use):
            return node
        changes: dict[str, object] = {}
        for field in node.__dataclass_fields__:  # type: ignore[attr-defined]
            if field == "span":
                continue
            part = getattr(node, field)
            replaced = self._substitute_part(part, names_only=field in _NAME_FIELDS)
            if replaced is not part:
                changes[field] = replaced
        return replace(node, **changes) if changes else node  # type: ignore[type-var]

    def _substitute_part(self, part: object, *, names_only: bool) -> object:
        if isinstance(part, tuple):
            replaced = tuple(self._substitute_part(item, names_only=names_only) for item in part)
            return part if all(a is b for a, b in zip(replaced, part, strict=True)) else replaced
        if part is None or isinstance(part, str | int | float | bool):
            return part
        if isinstance(part, syntax.Name) and not names_only:
            return self.substitute_expression(part)
        return self.substitute(part)

    def _substitute_name(self, name: syntax.Name | syntax.Symbol) -> syntax.Name | syntax.Symbol:
        text = name.name
        if self.loop_variables and "_" in text:
            head, *parts = text.split("_")
            parts = [
                str(self.bindings[part]) if part in self.loop_variables else part for part in parts
            ]
            text = "_".join([head, *parts])
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


# Fields that hold the name of a declaration or a call, in which no static name is replaced.
_NAME_FIELDS: Final = frozenset({"names", "name", "keyword", "variable", "definition", "target"})
