"""Parse a spec's text to one model's plain statements and its operator definitions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache, lru_cache
from pathlib import Path

import rnnc
from rnnc.grammar import syntax
from rnnc.grammar.diagnostics.report import Report
from rnnc.grammar.expand import expand
from rnnc.grammar.parser import parse
from rnnc.grammar.source import Source
from support.second_oracle.annotations import Annotation, annotations_in
from support.second_oracle.constants import number
from support.second_oracle.functions import FUNCTIONS
from support.second_oracle.values import Unsupported

LIBRARY = Path(next(iter(rnnc.__path__))) / "operators" / "library"
Static = int | float | str
"""A parameter of a model or template: a number, or the name of a function."""

DEFAULTS = "operator x ⊕ h = tanh(W h + U x + b)\noperator ▷ h = V h + b\n"
"""Definitions of an undefined ⊕ or ▷, with any subscript."""


@dataclass(frozen=True, eq=False)
class Definition:
    """An operator, the scope of its body, and the arguments of its instance."""

    operator: syntax.Operator
    home: OperatorScope
    arguments: Mapping[str, Static] = field(default_factory=dict)
    bodies: dict[tuple[tuple[str, Static], ...], tuple[syntax.Statement, ...]] = field(
        default_factory=dict
    )
    """Expanded bodies by parameters and sizes."""


@dataclass(eq=False)
class OperatorScope:
    """A file, or a model in a file: its operators, and a model's `param` lines."""

    parent: OperatorScope | None
    operators: dict[str, Definition | syntax.Instance] = field(default_factory=dict)
    shared: Mapping[str, Annotation] = field(default_factory=dict)

    def find(self, name: str) -> Definition | None:
        """Return the definition of a name; None if there is none."""
        definition = self.operators.get(name)
        if definition is None:
            return self.parent.find(name) if self.parent else None
        if isinstance(definition, syntax.Instance):
            self.operators[name] = definition = self._instance(definition)
        return definition

    def _instance(self, instance: syntax.Instance) -> Definition:
        definition = self.find(instance.definition.name)
        if definition is None:
            raise Unsupported(f"an instance of the unknown `{instance.definition.name}`")
        arguments: dict[str, Static] = {}
        for argument in instance.arguments:
            if argument.keyword is None:
                raise Unsupported("an argument of a template without a name")
            arguments[argument.keyword.name] = static(argument.value)
        return Definition(
            definition.operator, definition.home, {**definition.arguments, **arguments}
        )

    def resolve(self, name: str) -> Definition:
        """Return the definition of a name, or its default."""
        definition = self.find(name) or _default_operators().find(name[0])
        if definition is None:
            raise Unsupported(f"the undefined operator `{name}`")
        return definition

    def define(self, statements: Iterable[syntax.Statement]) -> None:
        """Add the operators among some statements."""
        for statement in statements:
            if isinstance(statement, syntax.Operator):
                self.operators[statement.name.name] = Definition(statement, self)
            elif isinstance(statement, syntax.Instance):
                for name in statement.names:
                    self.operators[name.name] = statement


@dataclass(frozen=True, eq=False)
class Model:
    """One model with expanded statements and bound parameters."""

    statements: tuple[syntax.Statement, ...]
    place: OperatorScope


def static(expression: syntax.Expression) -> Static:
    """Evaluate to a number, or to the name of a function of the language."""
    if isinstance(expression, syntax.Name) and expression.name in FUNCTIONS:
        return expression.name
    return number(expression, {})


def expand_statements(
    statements: Iterable[syntax.Statement], names: Mapping[str, Static]
) -> tuple[syntax.Statement, ...]:
    """Expand `for` and `if`; raise Unsupported on diagnostics."""
    report = Report()
    result = expand(statements, names, report)
    _require_valid(report)
    return result


def read_model(text: str, sizes: Mapping[str, Static], model: str | None = None) -> Model:
    """Parse a text's model (or one of several, by name) with parameters from `sizes`."""
    return _read(text, tuple(sorted(sizes.items())), model)


@lru_cache(maxsize=64)
def _read(text: str, bound: tuple[tuple[str, Static], ...], model: str | None) -> Model:
    file, sizes = _parse_text(text), dict(bound)
    models = [m for m in file.models if model is None or m.name == model]
    if len(models) != 1:
        raise ValueError(f"expected one model, got {[m.name for m in file.models]}")
    (chosen,) = models
    place = _file_scope(file)
    values: dict[str, Static] = {}
    for parameter in chosen.parameters:
        name = parameter.name.name
        if name in sizes:
            values[name] = sizes[name]
        elif parameter.default is None:
            raise ValueError(f"expected a value of `{name}`, got none")
        else:
            values[name] = number(parameter.default, values)
    statements = expand_statements(chosen.body, values)
    inner = OperatorScope(place, shared=annotations_in(statements))
    inner.define(statements)
    return Model(statements, inner)


@lru_cache(maxsize=64)
def _parse_text(text: str) -> syntax.File:
    report = Report()
    file = parse(Source(text), report)
    _require_valid(report)
    return file


@cache
def _default_operators() -> OperatorScope:
    place = OperatorScope(None)
    place.define(_parse_text(DEFAULTS).operators)
    return place


def _file_scope(file: syntax.File) -> OperatorScope:
    place = OperatorScope(None)
    for use in file.uses:
        path = LIBRARY / f"{use.module.name}.rnn"
        if not path.is_file():
            raise Unsupported(f"`use` of `{use.module.name}`, which is not in the library")
        module_scope = _file_scope(_parse_text(path.read_text(encoding="utf-8")))
        for name in use.names:
            definition = module_scope.find(name.name)
            if definition is None:
                raise Unsupported(f"`{use.module.name}` has no `{name.name}`")
            place.operators[name.name] = definition
    place.define(expand_statements(file.operators, {}))
    return place


def _require_valid(report: Report) -> None:
    if report.has_errors:
        raise Unsupported("; ".join(d.message for d in report if d.severity == "error"))
