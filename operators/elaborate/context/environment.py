"""Which definition an operator's name stands for, in which file."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from rnnc.grammar import syntax
from rnnc.grammar.constant_eval import NotConstantError, evaluate_constant
from rnnc.grammar.diagnostics.diagnostic import Label
from rnnc.grammar.diagnostics.report import Report
from rnnc.grammar.diagnostics.suggestions import did_you_mean, shown
from rnnc.grammar.expand import expand
from rnnc.grammar.source import Span
from rnnc.grammar.substitution import StaticValue, Substitution
from rnnc.operators.semantics.primitives import RESERVED_FUNCTIONS
from rnnc.operators.sources.modules import ModuleLoader


@dataclass(frozen=True, slots=True, eq=False)
class Definition:
    """An operator's definition, the names that its body sees, and the arguments given so far."""

    operator: syntax.Operator
    environment: Environment
    arguments: tuple[tuple[str, StaticValue], ...] = ()


@dataclass(slots=True, eq=False)
class Environment:
    """The operators visible at one place: its own, then those of the file around it.

    `sees_model` tells whether bodies written here see the model's `param` lines.
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
        """The definition behind a name, with the arguments of its instance; None if undefined."""
        found = self._lookup_local(name)
        if found is None:
            return self.parent.lookup(name) if self.parent else None
        if isinstance(found, Definition):
            return found
        if isinstance(found, syntax.ErrorStatement):
            return None
        if name not in self._instances:
            if name in self._instances_in_progress:
                self.report.error(
                    "RNN209",
                    f"`{shown(name)}` is an instance of itself",
                    found.span,
                    hint="right of the `=` stands a definition with a body, or a used one",
                )
                return None
            self._instances_in_progress.add(name)
            self._instances[name] = self._instantiate(found)
            self._instances_in_progress.discard(name)
        return self._instances[name]

    def has_error_statements(self) -> bool:
        """Whether a line of an operator that is visible here could not be read."""
        return (self.parent is not None and self.parent.has_error_statements()) or any(
            isinstance(found, syntax.ErrorStatement)
            or (
                isinstance(found, Definition)
                and any(isinstance(line, syntax.ErrorStatement) for line in found.operator.body)
            )
            for found in self.definitions.values()
        )

    def is_defined(self, name: str) -> bool:
        """Whether a name stands for an operator, be its definition sound or not."""
        return self._lookup_local(name) is not None or (
            self.parent is not None and self.parent.is_defined(name)
        )

    def visible_names(self) -> set[str]:
        """All names of operators that are visible."""
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
                for lost in statement.operators:
                    self.definitions.setdefault(lost, statement)

    def _lookup_local(
        self, name: str
    ) -> Definition | syntax.Instance | syntax.ErrorStatement | None:
        found = self.definitions.get(name)
        if found is None and "_" in name:  # `⊕_1`, of a broken `operator ⊕_l …`
            stem = self.definitions.get(name.split("_")[0])
            return stem if isinstance(stem, syntax.ErrorStatement) else None
        return found

    def bind(self, name: str, definition: Definition) -> None:
        """Make another file's operator visible under its name."""
        self.definitions[name] = definition

    def _add_definition(
        self, name: syntax.Name | syntax.Symbol, meaning: Definition | syntax.Instance
    ) -> None:
        before = self.definitions.get(name.name)
        if name.name in RESERVED_FUNCTIONS:
            self.report.error(
                "RNN108",
                f"`{name.name}` is a function of the language",
                name.span,
                "cannot be defined again",
                hint=f"choose another name, such as `{name.name}_1`",
            )
            return
        if isinstance(before, Definition | syntax.Instance):
            first = before.operator.name if isinstance(before, Definition) else before.names[0]
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
        allowed = {p.name.name for p in definition.operator.parameters}
        given = dict(definition.arguments)
        for argument in instance.arguments:
            if argument.keyword is None or argument.keyword.name not in allowed:
                takes = ", ".join(sorted(allowed)) or "none"
                self.report.error(
                    "RNN208",
                    f"`{name}` has no parameter `{argument.keyword.span.text}`"
                    if argument.keyword
                    else "the arguments of a template are given by name",
                    argument.span,
                    hint=f"the parameters of `{name}`: {takes}",
                )
                continue
            value = self.evaluate_static(argument.value)
            if value is not None:
                given[argument.keyword.name] = value
        return Definition(definition.operator, definition.environment, tuple(given.items()))

    def evaluate_static(self, expression: syntax.Expression) -> StaticValue | None:
        """The value of a template's argument: a number, or the name of a function."""
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
    """The expanded body of a definition; reports parameters without a value (RNN211).

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
    """The names of sizes that the types of operands bind."""
    found: set[str] = set()
    for operand in operands:
        found |= _bound_size_names(operand.parts)
        if operand.type is not None:
            found |= {size.name for size in operand.type.sizes if isinstance(size, syntax.Name)}
    return found


def file_environment(
    file: syntax.File,
    modules: ModuleLoader,
    report: Report,
    loading: tuple[syntax.File, ...] = (),
    cache: dict[int, Environment] | None = None,
) -> Environment:
    """The operators of a file: its own and those that it uses."""
    cache = {} if cache is None else cache
    environment = Environment(report)
    cache[id(file)] = environment
    for use in file.uses:
        used = modules.load(use)
        if used is None:
            for name in use.names:
                environment.definitions[name.name] = syntax.ErrorStatement(frozenset(), name.span)
            continue
        if used is file or used in loading:
            report.error(
                "RNN210",
                f"`{use.module.name}` uses itself",
                use.span,
                "round in a circle" if loading else "",
            )
            for name in use.names:
                environment.definitions[name.name] = syntax.ErrorStatement(frozenset(), name.span)
            continue
        theirs = cache.get(id(used)) or file_environment(
            used, modules, report, (*loading, file), cache
        )
        _import_operators(use, theirs, environment, report)
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
            known = ", ".join(sorted(map(shown, source.visible_names())))
            report.error(
                "RNN210",
                f"`{use.module.name}` has no operator `{name.name}`",
                name.span,
                hint=did_you_mean(name.name, source.visible_names()) or f"it has: {known}",
            )


def model_environment(
    parent: Environment, statements: Iterable[syntax.Statement], report: Report
) -> Environment:
    """The operators of a model: those written in it, then those of its file."""
    environment = Environment(report, parent, sees_model=True)
    environment.define(statements)
    return environment
