"""One model's syntax -> its operator graph: names resolved, shapes inferred, operators inlined."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from rnnc.grammar import syntax
from rnnc.grammar.diagnostics.diagnostic import Label
from rnnc.grammar.diagnostics.report import Report
from rnnc.grammar.diagnostics.suggestions import closest
from rnnc.grammar.expand import Bound, expand
from rnnc.grammar.source import Span
from rnnc.operators.analysis.causality import check_time
from rnnc.operators.elaborate.context.environment import Environment, model_environment
from rnnc.operators.elaborate.context.equation_order import in_order, names_in, targets_of
from rnnc.operators.elaborate.context.graph_builder import Assembly
from rnnc.operators.elaborate.context.parameters import read_annotations
from rnnc.operators.elaborate.context.scope import Scope, Variable
from rnnc.operators.elaborate.context.values import Literal, Stop, TupleValue, Value, Vector
from rnnc.operators.elaborate.expressions.evaluator import Evaluator
from rnnc.operators.elaborate.expressions.function_calls import call
from rnnc.operators.graph.operator_graph import OperatorGraph
from rnnc.operators.semantics.primitives import RESERVED_FUNCTIONS

from .assignments import annotated, fit, parts_of
from .declarations import declare
from .finalize import finish
from .laws import add_laws
from .loss_terms import add_terms
from .operator_applications import apply
from .shadowed_parameters import warn_of_captures
from .unused_operators import check_unused


@dataclass(slots=True)
class Build:
    """A model while it is built: its scope and what its equations have set so far."""

    evaluator: Evaluator
    variables: dict[str, Variable]
    predictions: dict[str, tuple[Vector, Span, Span]]


def build(
    model: syntax.Model, around: Environment, parameters: Mapping[str, Bound], report: Report
) -> OperatorGraph | None:
    """The operator graph of a model; None when a mistake, which is reported, prevents it."""
    assembly = Assembly(report)
    statements = expand(model.body, parameters, report)
    if any(diagnostic.code == "RNN214" for diagnostic in report):
        return None  # what is left of the model would only raise more
    broken = frozenset().union(*(s.names for s in statements if isinstance(s, syntax.Broken)))
    variables = declare(statements, assembly, broken, frozenset(parameters))
    environment = model_environment(around, statements, report)
    declared = {n.name for s in statements if isinstance(s, syntax.Declaration) for n in s.names}
    broken |= declared - variables.keys()
    annotations = read_annotations(statements, report)
    for name, annotation in annotations.items():
        if name in variables:
            assembly.parameters.declared_twice(
                syntax.Name(name, annotation.span), variables[name].span
            )
    scope = Scope(environment, variables=variables, annotations=annotations, broken=broken)
    evaluator = Evaluator(assembly, scope, apply, call)
    known = Build(evaluator, variables, {})
    equations = _equations(statements, known)
    own = _locals(equations, known)
    scope.pending = frozenset(own)
    for equation in in_order(equations, own, report):
        _set(equation, known)
    _demand_all_set(model, known, equations)
    laws, terms = add_laws(statements, evaluator), add_terms(statements, evaluator)
    for operators in (environment, around):
        check_unused(operators, annotations, assembly.used, report)
    graph = finish(model.name, evaluator, variables, known.predictions, laws, terms, model.span)
    # What a line that could not be read says of time is not known, in operators as in the model.
    unread = environment.holds_broken() or any(isinstance(s, syntax.Broken) for s in statements)
    if graph is not None and not unread:
        check_time(graph, evaluator.assembly.reads, report)
        warn_of_captures(model, annotations, assembly.parameters, report)
    return None if report.failed else graph


def _equations(statements: Sequence[syntax.Statement], known: Build) -> list[syntax.Equation]:
    report = known.evaluator.report
    equations: list[syntax.Equation] = []
    for statement in statements:
        match statement:
            case syntax.Equation():
                equations.append(statement)
            case syntax.Result():
                report.error(
                    "RNN113",
                    "an expression that is given no name",
                    statement.span,
                    hint="write `z = …`, `h' = …` or `x' = …`",
                )
                known.evaluator.scope.poison(*names_in(statement.value))
            case syntax.Model():
                report.error(
                    "RNN113",
                    "a model inside a model",
                    statement.span,
                    hint="models stand side by side; what they share is an `operator` of the file",
                )
            case syntax.Use():
                report.error(
                    "RNN113", "`use` inside a block", statement.span, hint="it stands at the top"
                )
            case _:
                pass
    return equations


def _locals(equations: Sequence[syntax.Equation], known: Build) -> list[str]:
    """Check every left side, and give the names of the locals."""
    first: dict[str, Span] = {}
    report, scope = known.evaluator.report, known.evaluator.scope
    for equation in equations:
        for target in targets_of(equation.target):
            match target:
                case syntax.Name(name):
                    variable = known.variables.get(name)
                    if variable is not None and variable.role != "output":
                        prime = f"`{name}' = …` sets its value coming out of the step"
                        if variable.role == "input":
                            prime = f"`{name}' = …` predicts its next value"
                        scope.poison(name)
                        report.error(
                            "RNN111",
                            f"`{name}` is an {variable.role}"
                            if variable.role == "input"
                            else f"`{name}` is a state, and its bare name the value going in",
                            target.span,
                            "cannot be set",
                            hint=prime,
                        )
                    elif variable is None:
                        _new_local(target, first, known)
                case syntax.Primed(syntax.Name(name)) | syntax.Timed(syntax.Name(name)):
                    if name not in known.variables and not scope.is_poisoned(name):
                        _undeclared(target, name, known)
                case _:
                    scope.poison(*names_in(target))
                    report.error(
                        "RNN111",
                        f"`{target.span.text}` cannot be set",
                        target.span,
                        hint="a left side is `h'`, `x'`, an output, a new name, or a tuple of them",
                    )
    return list(first)


def _undeclared(target: syntax.Expression, name: str, known: Build) -> None:
    scope = known.evaluator.scope
    meant = closest(name, known.variables)
    scope.poison(name, *([meant] if meant else []))
    known.evaluator.report.error(
        "RNN201",
        f"`{name}` is not declared",
        target.span,
        hint=f"did you mean `{meant}`?" if meant else f"declare it: `state {name}: real[200]`",
    )


def _new_local(target: syntax.Name, first: dict[str, Span], known: Build) -> None:
    report, scope = known.evaluator.report, known.evaluator.scope
    name = target.name
    if name in first:
        report.error(
            "RNN205",
            f"`{target.span.text}` is set twice",
            target.span,
            "again here",
            related=(Label(first[name], "first here"),),
            hint="a name stands for one value; use another name",
        )
    elif name in scope.annotations:
        known.evaluator.assembly.parameters.declared_twice(target, scope.annotations[name].span)
    elif name in RESERVED_FUNCTIONS or name == "t":
        report.error(
            "RNN108",
            f"`{target.span.text}` is a reserved name",
            target.span,
            hint="it is the current time" if name == "t" else "it is a function of the language",
        )
        scope.values[name] = None
    first.setdefault(name, target.span)


def _set(equation: syntax.Equation, known: Build) -> None:
    evaluator = known.evaluator
    try:
        value: Value | None = evaluator.evaluate(equation.value)
        if equation.type is not None and value is not None:
            value = annotated(evaluator, equation.type, value, equation)
    except Stop:
        value = None
    settable = (syntax.Name, syntax.Primed, syntax.Timed)
    if all(isinstance(target, settable) for target in targets_of(equation.target)):
        _assign(equation.target, value, equation, known)


def _assign(
    target: syntax.Expression, value: Value | None, equation: syntax.Equation, known: Build
) -> None:
    evaluator = known.evaluator
    if isinstance(target, syntax.Parentheses):
        parts: Sequence[Value | None] = [None] * len(target.arguments)
        if value is not None:
            with suppress(Stop):
                parts = parts_of(evaluator, target, value, equation)
        for argument, part in zip(target.arguments, parts, strict=True):
            _assign(argument.value, part, equation, known)
        return
    if isinstance(target, syntax.Name) and target.name not in known.variables:
        evaluator.scope.values.setdefault(target.name, value)
        if value is not None:
            evaluator.assembly.locals.append((target.name, value, target.span))
        return
    try:
        _assign_variable(target, value, equation, known)
    except Stop:
        return


def _assign_variable(
    target: syntax.Expression, value: Value | None, equation: syntax.Equation, known: Build
) -> None:
    evaluator = known.evaluator
    name, steps = _time_of(target, evaluator)
    variable = known.variables.get(name)
    if variable is None or (isinstance(target, syntax.Name) and variable.role != "output"):
        return
    wanted = 1 if variable.role == "input" else 0
    if steps != wanted:
        evaluator.scope.poison(name)
        meant = {"input": f"{name}'", "state": f"{name}'", "output": name}[variable.role]
        evaluator.fail(
            "RNN111",
            f"`{target.span.text}` cannot be set",
            target.span,
            hint=f"an equation sets `{meant}`",
        )
    if variable.set_at is not None:
        evaluator.fail(
            "RNN205",
            f"`{target.span.text}` is set twice",
            target.span,
            "again here",
            related=(Label(variable.set_at, "first here"),),
            hint="one equation sets a variable; add the two right sides, or use another name",
        )
    variable.set_at, variable.value_at = target.span, equation.value.span
    if value is None:
        return
    if isinstance(value, Literal):
        operand = evaluator.assembly.add(
            "constant", (), variable.size, equation.value.span, (float(value.value),)
        )
        value = Vector(operand, variable.size)
    if isinstance(value, TupleValue):
        _one_for_many(variable, len(value.parts), equation, known)
    vector = evaluator.vector(value, equation.value.span)
    fit(evaluator, variable.size, vector, equation)
    if variable.role == "input":
        known.predictions[name] = (vector, target.span, equation.value.span)
    elif variable.role == "state":
        evaluator.assembly.nodes[variable.node].operands = (vector.operand,)
    variable.value = vector


def _one_for_many(variable: Variable, parts: int, equation: syntax.Equation, known: Build) -> None:
    """Report a tuple that one variable is to take; the others it was meant for are then unset."""
    others = [v.name for v in known.variables.values() if v.role == "state" and v.set_at is None]
    names = [variable.name, *others][:parts]
    if variable.role != "state" or len(names) < parts:
        return
    known.evaluator.scope.poison(*names)
    target = ", ".join(f"{name}'" for name in names)
    known.evaluator.fail(
        "RNN307",
        f"`{equation.target.span.text}` takes one value, and the right side is a tuple of {parts}",
        equation.value.span,
        hint=f"take it apart: `({target}) = …`",
    )


def _time_of(target: syntax.Expression, evaluator: Evaluator) -> tuple[str, int]:
    """The variable that a left side names, and the step that it sets, 0 being now."""
    match target:
        case syntax.Name(name):
            return name, 0
        case syntax.Primed(syntax.Name(name)):
            variable = evaluator.scope.variables.get(name)
            if variable is not None and variable.role == "output":
                evaluator.scope.poison(name)
                evaluator.fail(
                    "RNN111",
                    f"`{name}` is an output and has no prime",
                    target.span,
                    hint=f"write `{name} = …`",
                )
            return name, 1 if variable is not None and variable.role == "input" else 0
        case syntax.Timed(syntax.Name(name), time):
            return name, evaluator.offset(time)
        case _:
            raise Stop


def _demand_all_set(
    model: syntax.Model, known: Build, equations: Sequence[syntax.Equation]
) -> None:
    report = known.evaluator.report
    for variable in known.variables.values():
        if variable.set_at is not None or variable.role == "input":
            continue
        if known.evaluator.scope.is_poisoned(variable.name):
            continue
        mark = "'" if variable.role == "state" else ""
        report.error(
            "RNN204",
            f"`{variable.name}` is never set",
            variable.span,
            f"a declared {variable.role}",
            hint=f"add an equation: `{variable.name}{mark} = …`",
        )
    has_output = any(v.role == "output" for v in known.variables.values())
    predicted = any(
        isinstance(t, syntax.Primed | syntax.Timed)
        and (v := known.variables.get(t.name.name)) is not None
        and v.role == "input"
        for equation in equations
        for t in targets_of(equation.target)
    )
    if not (has_output or predicted or report.failed or known.evaluator.scope.broken):
        first = next((v for v in known.variables.values() if v.role == "input"), None)
        example = f"{first.name}' = ▷ h'" if first else "output y: real"
        report.error(
            "RNN114",
            f"model `{model.name}` gives nothing: it has no output and predicts no input",
            Span(model.span.source, model.span.start, min(model.span.end, model.span.start + 1)),
            hint=f"add `{example}`",
        )
