"""Environments: the operator definition of a name, by file and model.

Resolves `use`, nested definitions and instances of templates.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from rnnc.grammar import syntax
from rnnc.grammar.constant_eval import NotConstantError, evaluate_constant
from rnnc.grammar.diagnostics.diagnostic import Label
from rnnc.grammar.diagnostics.report import Report
from rnnc.grammar.diagnostics.suggestions import did_you_mean
from rnnc.grammar.expand import expand
from rnnc.grammar.source import Span
from rnnc.grammar.substitution import StaticValue, Substitution
from rnnc.grammar.symbols import display_name
from rnnc.operators.semantics.primitives import RESERVED_FUNCTIONS
from rnnc.operators.sources.modules import ModuleLoader


@dataclass(frozen=True, slots=True, eq=False)
class Definition:
    """Definition of an operator, the environment of its body, and its template arguments."""

    operator: syntax.Operator
    environment: Environment
    arguments: tuple[tuple[str, StaticValue], ...] = ()


@dataclass(slots=True, eq=False)
class Environment:
    """Operators visible in one file or model, with the environment around it.

    sees_model: bodies written here see the model's `param` lines.
    """

    report: Report
    parent: Environment | None = None
    sees_model: bool = False
    definitions: dict[str, Definition | syntax.Instance | syntax.ErrorStatement] = field(
        default_factory=dict
    )
    _instances: dict[str, Definition | None] = field(default_factory=dict)
    _instances_in_progress: set[str] = field(default_factory=set)

    def lookup(self, name: str) -> Definition | None:
        """Return the definition of a name, with its instance's arguments; None if undefined."""
        definition = self._lookup_local(name)
        if definition is None:
            return self.parent.lookup(name) if self.parent else None
        if isinstance(definition, Definition):
            return definition
        if isinstance(definition, syntax.ErrorStatement):
            return None
        if name not in self._instances:
            if name in self._instances_in_progress:
                self.report.error(
                    "RNN209",
                    f"`{display_name(name)}` is an instance of itself",
                    definition.span,
                    hint="right of the `=` stands a definition with a body, or a used one",
                )
                return None
            self._instances_in_progress.add(name)
            self._instances[name] = self._instantiate(definition)
            self._instances_in_progress.discard(name)
        return self._instances[name]

    def has_error_statements(self) -> bool:
        """Return true if a line of a visible operator did not parse."""
        return (self.parent is not None and self.parent.has_error_statements()) or any(
            isinstance(definition, syntax.ErrorStatement)
            or (
                isinstance(definition, Definition)
                and any(
                    isinstance(line, syntax.ErrorStatement) for line in definition.operator.body
                )
            )
            for definition in self.definitions.values()
        )

    def is_defined(self, name: str) -> bool:
        """Return true if a name is an operator, even one with a mistake in its definition."""
        return self._lookup_local(name) is not None or (
            self.parent is not None and self.parent.is_defined(name)
        )

    def visible_names(self) -> set[str]:
        """Return the names of all visible operators."""
        return set(self.definitions) | (self.parent.visible_names() if self.parent else set())

    def define(self, statements: Iterable[syntax.Statement]) -> None:
        """Add the operators among expanded statements."""
        for statement in statements:
            if isinstance(statement, syntax.Operator):
                self._add_definition(statement.name, Definition(statement, self))
            elif isinstance(statement, syntax.Instance):
                for name in statement.names:
                    self._add_definition(name, statement)
            elif isinstance(statement, syntax.ErrorStatement):
                for operator in statement.operators:
                    self.definitions.setdefault(operator, statement)

    def _lookup_local(
        self, name: str
    ) -> Definition | syntax.Instance | syntax.ErrorStatement | None:
        definition = self.definitions.get(name)
        if definition is None and "_" in name:  # `⊕_1`, of an unreadable `operator ⊕_l …`
            stem = self.definitions.get(name.split("_")[0])
            return stem if isinstance(stem, syntax.ErrorStatement) else None
        return definition

    def bind(self, name: str, definition: Definition) -> None:
        """Make another file's operator visible under its name."""
        self.definitions[name] = definition

    def _add_definition(
        self, name: syntax.Name | syntax.Symbol, meaning: Definition | syntax.Instance
    ) -> None:
        existing = self.definitions.get(name.name)
        if name.name in RESERVED_FUNCTIONS:
            self.report.error(
                "RNN108",
                f"`{name.name}` is a function of the language",
                name.span,
                "cannot be defined again",
                hint=f"choose another name, such as `{name.name}_1`",
            )
            return
        if isinstance(existing, Definition | syntax.Instance):
            first = (
                existing.operator.name if isinstance(existing, Definition) else existing.names[0]
            )
            self.report.error(
                "RNN202",
                f"`{name.span.text}` is defined twice",
                name.span,
                "again here",
                related=(Label(first.span, "first here"),),
                hint="give one of them a subscript: `⊕₁` and `⊕₂` are different operators",
            )
            return
        self.definitions[name.name] = meaning

    def _instantiate(self, instance: syntax.Instance) -> Definition | None:
        name = instance.definition.name
        definition = self.lookup(name)
        if definition is None:
            if not self.is_defined(name):
                self.report.error(
                    "RNN206",
                    f"`{name}` is not defined",
                    instance.definition.span,
                    hint=did_you_mean(name, self.visible_names())
                    or f"define it: `operator {name}(x, h): …`, or `use {name} from …`",
                )
            return None
        parameters = {p.name.name for p in definition.operator.parameters}
        arguments = dict(definition.arguments)
        for argument in instance.arguments:
            if argument.keyword is None or argument.keyword.name not in parameters:
                listed = ", ".join(sorted(parameters)) or "none"
                self.report.error(
                    "RNN208",
                    f"`{name}` has no parameter `{argument.keyword.span.text}`"
                    if argument.keyword
                    else "the arguments of a template are given by name",
                    argument.span,
                    hint=f"the parameters of `{name}`: {listed}",
                )
                continue
            value = self.evaluate_static(argument.value)
            if value is not None:
                arguments[argument.keyword.name] = value
        return Definition(definition.operator, definition.environment, tuple(arguments.items()))

    def evaluate_static(self, expression: syntax.Expression) -> StaticValue | None:
        """Evaluate a template's argument: a number, or the name of a function."""
        if isinstance(expression, syntax.Name) and expression.name in RESERVED_FUNCTIONS:
            return expression.name
        try:
            return evaluate_constant(expression)
        except NotConstantError as error:
            self.report.error(
                "RNN208",
                error.reason,
                error.span,
                hint="an argument of a template is a number or the name of a function",
            )
            return None


def expand_body(definition: Definition, report: Report, span: Span) -> tuple[syntax.Statement, ...]:
    """Expand the body of a definition, its template parameters substituted.

    A parameter may default to a size that an operand's type binds, `operator f(h: real[n], width =
    n)`: it is then another name of that size.
    """
    names: dict[str, StaticValue] = dict(definition.arguments)
    sizes = _bound_size_names(definition.operator.operands)
    for parameter in definition.operator.parameters:
        name = parameter.name.name
        if name in names:
            continue
        assert parameter.default is not None  # `layers` alone would be an operand
        default = Substitution(names, frozenset(), report).substitute_expression(parameter.default)
        if isinstance(default, syntax.Name) and default.name in sizes:
            names[name] = default.name
            continue
        value = definition.environment.evaluate_static(default)
        names[name] = 1 if value is None else value
    return expand(definition.operator.body, names, report)


def _bound_size_names(operands: Iterable[syntax.Operand]) -> set[str]:
    """Return the names of sizes that the types of operands bind."""
    names: set[str] = set()
    for operand in operands:
        names |= _bound_size_names(operand.parts)
        if operand.type is not None:
            names |= {size.name for size in operand.type.sizes if isinstance(size, syntax.Name)}
    return names


def file_environment(
    file: syntax.File,
    modules: ModuleLoader,
    report: Report,
    loading: tuple[syntax.File, ...] = (),
    cache: dict[int, Environment] | None = None,
) -> Environment:
    """Return the operators of a file: its own and those that it uses."""
    cache = {} if cache is None else cache
    environment = Environment(report)
    cache[id(file)] = environment
    for use in file.uses:
        used_file = modules.load(use)
        if used_file is None:
            for name in use.names:
                environment.definitions[name.name] = syntax.ErrorStatement(frozenset(), name.span)
            continue
        if used_file is file or used_file in loading:
            report.error(
                "RNN210",
                f"`{use.module.name}` uses itself",
                use.span,
                "round in a circle" if loading else "",
            )
            for name in use.names:
                environment.definitions[name.name] = syntax.ErrorStatement(frozenset(), name.span)
            continue
        used_environment = cache.get(id(used_file)) or file_environment(
            used_file, modules, report, (*loading, file), cache
        )
        _import_operators(use, used_environment, environment, report)
    environment.define(expand(file.operators, {}, report))
    return environment


def _import_operators(
    use: syntax.Use, source: Environment, destination: Environment, report: Report
) -> None:
    for name in use.names:
        definition = source.lookup(name.name)
        if definition is not None:
            destination.bind(name.name, definition)
            continue
        destination.definitions[name.name] = syntax.ErrorStatement(frozenset(), name.span)
        if not source.is_defined(name.name):
            available = ", ".join(sorted(map(display_name, source.visible_names())))
            report.error(
                "RNN210",
                f"`{use.module.name}` has no operator `{name.name}`",
                name.span,
                hint=did_you_mean(name.name, source.visible_names()) or f"it has: {available}",
            )


def model_environment(
    parent: Environment, statements: Iterable[syntax.Statement], report: Report
) -> Environment:
    """Return the operators of a model: those defined in it, then those of its file."""
    environment = Environment(report, parent, sees_model=True)
    environment.define(statements)
    return environment
