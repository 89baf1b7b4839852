"""Which definition an operator's name stands for, in which file."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from rnnc.grammar import syntax
from rnnc.grammar.constant_eval import NotConstant, evaluate
from rnnc.grammar.diagnostics.diagnostic import Label
from rnnc.grammar.diagnostics.report import Report
from rnnc.grammar.diagnostics.suggestions import did_you_mean, shown
from rnnc.grammar.expand import Bound, Substitution, expand
from rnnc.grammar.source import Span
from rnnc.operators.semantics.primitives import RESERVED_FUNCTIONS
from rnnc.operators.sources.modules import Modules


@dataclass(frozen=True, slots=True, eq=False)
class Definition:
    """An operator's definition, the names that its body sees, and the arguments given so far."""

    operator: syntax.Operator
    environment: Environment
    arguments: tuple[tuple[str, Bound], ...] = ()


@dataclass(slots=True, eq=False)
class Environment:
    """The operators visible at one place: its own, then those of the file around it.

    `sees_model` tells whether bodies written here see the model's `param` lines.
    """

    report: Report
    parent: Environment | None = None
    sees_model: bool = False
    own: dict[str, Definition | syntax.Instance | syntax.Broken] = field(default_factory=dict)
    _settled: dict[str, Definition | None] = field(default_factory=dict)
    _settling: set[str] = field(default_factory=set)

    def lookup(self, name: str) -> Definition | None:
        """The definition behind a name, with the arguments of its instance; None if undefined."""
        found = self._own(name)
        if found is None:
            return self.parent.lookup(name) if self.parent else None
        if isinstance(found, Definition):
            return found
        if isinstance(found, syntax.Broken):
            return None
        if name not in self._settled:
            if name in self._settling:
                self.report.error(
                    "RNN209",
                    f"`{shown(name)}` is an instance of itself",
                    found.span,
                    hint="right of the `=` stands a definition with a body, or a used one",
                )
                return None
            self._settling.add(name)
            self._settled[name] = self._instantiate(found)
            self._settling.discard(name)
        return self._settled[name]

    def holds_broken(self) -> bool:
        """Whether a line of an operator that is visible here could not be read."""
        return (self.parent is not None and self.parent.holds_broken()) or any(
            isinstance(found, syntax.Broken)
            or (
                isinstance(found, Definition)
                and any(isinstance(line, syntax.Broken) for line in found.operator.body)
            )
            for found in self.own.values()
        )

    def is_defined(self, name: str) -> bool:
        """Whether a name stands for an operator, be its definition sound or not."""
        return self._own(name) is not None or (
            self.parent is not None and self.parent.is_defined(name)
        )

    def names(self) -> set[str]:
        """All names of operators that are visible."""
        return set(self.own) | (self.parent.names() if self.parent else set())

    def define(self, statements: Iterable[syntax.Statement]) -> None:
        """Add the operators among expanded statements."""
        for statement in statements:
            if isinstance(statement, syntax.Operator):
                self._add(statement.name, Definition(statement, self))
            elif isinstance(statement, syntax.Instance):
                for name in statement.names:
                    self._add(name, statement)
            elif isinstance(statement, syntax.Broken):
                for lost in statement.operators:
                    self.own.setdefault(lost, statement)

    def _own(self, name: str) -> Definition | syntax.Instance | syntax.Broken | None:
        found = self.own.get(name)
        if found is None and "_" in name:  # `⊕_1`, of a broken `operator ⊕_l …`
            stem = self.own.get(name.split("_")[0])
            return stem if isinstance(stem, syntax.Broken) else None
        return found

    def bind(self, name: str, definition: Definition) -> None:
        """Make another file's operator visible under its name."""
        self.own[name] = definition

    def _add(
        self, name: syntax.Name | syntax.Symbol, meaning: Definition | syntax.Instance
    ) -> None:
        before = self.own.get(name.name)
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
        self.own[name.name] = meaning

    def _instantiate(self, instance: syntax.Instance) -> Definition | None:
        name = instance.definition.name
        definition = self.lookup(name)
        if definition is None:
            if not self.is_defined(name):
                self.report.error(
                    "RNN206",
                    f"`{name}` is not defined",
                    instance.definition.span,
                    hint=did_you_mean(name, self.names())
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
            value = self.static(argument.value)
            if value is not None:
                given[argument.keyword.name] = value
        return Definition(definition.operator, definition.environment, tuple(given.items()))

    def static(self, expression: syntax.Expression) -> Bound | None:
        """The value of a template's argument: a number, or the name of a function."""
        if isinstance(expression, syntax.Name) and expression.name in RESERVED_FUNCTIONS:
            return expression.name
        try:
            return evaluate(expression)
        except NotConstant as error:
            self.report.error(
                "RNN208",
                error.reason,
                error.span,
                hint="an argument of a template is a number or the name of a function",
            )
            return None


def body_of(definition: Definition, report: Report, span: Span) -> tuple[syntax.Statement, ...]:
    """The expanded body of a definition; reports parameters without a value (RNN211).

    A parameter may default to a size that an operand's type binds, `operator f(h: real[n], width =
    n)`: it is then another name of that size.
    """
    names: dict[str, Bound] = dict(definition.arguments)
    sizes = _sizes_of(definition.operator.operands)
    for parameter in definition.operator.parameters:
        name = parameter.name.name
        if name in names:
            continue
        assert parameter.default is not None  # `layers` alone would be an operand
        default = Substitution(names, frozenset(), report).expression(parameter.default)
        if isinstance(default, syntax.Name) and default.name in sizes:
            names[name] = default.name
            continue
        value = definition.environment.static(default)
        names[name] = 1 if value is None else value
    return expand(definition.operator.body, names, report)


def _sizes_of(operands: Iterable[syntax.Operand]) -> set[str]:
    """The names of sizes that the types of operands bind."""
    found: set[str] = set()
    for operand in operands:
        found |= _sizes_of(operand.parts)
        if operand.type is not None:
            found |= {size.name for size in operand.type.sizes if isinstance(size, syntax.Name)}
    return found


def file_environment(
    file: syntax.File,
    modules: Modules,
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
                environment.own[name.name] = syntax.Broken(frozenset(), name.span)
            continue
        if used is file or used in loading:
            report.error(
                "RNN210",
                f"`{use.module.name}` uses itself",
                use.span,
                "round in a circle" if loading else "",
            )
            for name in use.names:
                environment.own[name.name] = syntax.Broken(frozenset(), name.span)
            continue
        theirs = cache.get(id(used)) or file_environment(
            used, modules, report, (*loading, file), cache
        )
        _import(use, theirs, environment, report)
    environment.define(expand(file.operators, {}, report))
    return environment


def _import(use: syntax.Use, theirs: Environment, ours: Environment, report: Report) -> None:
    for name in use.names:
        definition = theirs.lookup(name.name)
        if definition is not None:
            ours.bind(name.name, definition)
            continue
        ours.own[name.name] = syntax.Broken(frozenset(), name.span)
        if not theirs.is_defined(name.name):
            known = ", ".join(sorted(map(shown, theirs.names())))
            report.error(
                "RNN210",
                f"`{use.module.name}` has no operator `{name.name}`",
                name.span,
                hint=did_you_mean(name.name, theirs.names()) or f"it has: {known}",
            )


def model_environment(
    around: Environment, statements: Iterable[syntax.Statement], report: Report
) -> Environment:
    """The operators of a model: those written in it, then those of its file."""
    environment = Environment(report, around, sees_model=True)
    environment.define(statements)
    return environment
