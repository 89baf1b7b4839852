"""Elaborate one model to its operator graph.

Input: the syntax tree of the model and the operators of its file; output: a checked graph, with
names resolved, sizes inferred and operators inlined (docs/decisions/0002).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from rnnc.grammar import syntax
from rnnc.grammar.diagnostics.diagnostic import Label
from rnnc.grammar.diagnostics.report import Report
from rnnc.grammar.diagnostics.suggestions import closest_name
from rnnc.grammar.expand import expand
from rnnc.grammar.source import Span
from rnnc.grammar.substitution import StaticValue
from rnnc.grammar.syntax import flatten_targets, names_in
from rnnc.operators.analysis.causality import check_causality
from rnnc.operators.elaborate.context.environment import Environment, model_environment
from rnnc.operators.elaborate.context.equation_order import sort_equations
from rnnc.operators.elaborate.context.graph_builder import GraphBuilder
from rnnc.operators.elaborate.context.parameters import read_annotations
from rnnc.operators.elaborate.context.scope import Scope, Variable
from rnnc.operators.elaborate.context.values import (
    ElaborationError,
    Literal,
    TupleValue,
    Value,
    Vector,
)
from rnnc.operators.elaborate.expressions.evaluator import Evaluator
from rnnc.operators.elaborate.expressions.function_calls import call_function
from rnnc.operators.graph.operator_graph import OperatorGraph
from rnnc.operators.semantics.primitives import RESERVED_FUNCTIONS

from .assignments import apply_type_annotation, unify_target_size, unpack_tuple
from .declarations import declare_variables
from .finalize import finalize_graph
from .laws import evaluate_laws
from .loss_terms import evaluate_loss_terms
from .operator_applications import apply_operator
from .shadowed_parameters import warn_shadowed_parameters
from .unused_operators import check_unused_operators


@dataclass(slots=True)
class ModelContext:
    """State of a model's elaboration: its scope, and the values of its equations so far."""

    evaluator: Evaluator
    variables: dict[str, Variable]
    predictions: dict[str, tuple[Vector, Span, Span]]


def build_model(
    model: syntax.Model,
    file_operators: Environment,
    parameters: Mapping[str, StaticValue],
    report: Report,
) -> OperatorGraph | None:
    """Return the operator graph of a model; None after a mistake, which is reported."""
    builder = GraphBuilder(report)
    statements = expand(model.body, parameters, report)
    if any(diagnostic.code == "RNN214" for diagnostic in report):
        return None  # the truncated model would raise errors of its own
    poisoned = frozenset().union(
        *(s.names for s in statements if isinstance(s, syntax.ErrorStatement))
    )
    variables = declare_variables(statements, builder, poisoned, frozenset(parameters))
    environment = model_environment(file_operators, statements, report)
    declared_names = {
        n.name for s in statements if isinstance(s, syntax.Declaration) for n in s.names
    }
    poisoned |= declared_names - variables.keys()
    annotations = read_annotations(statements, report)
    for name, annotation in annotations.items():
        if name in variables:
            builder.parameter_table.report_redeclaration(
                syntax.Name(name, annotation.span), variables[name].span
            )
    scope = Scope(
        environment, variables=variables, annotations=annotations, poisoned_names=poisoned
    )
    evaluator = Evaluator(builder, scope, apply_operator, call_function)
    context = ModelContext(evaluator, variables, {})
    equations = _collect_equations(statements, context)
    local_names = _collect_locals(equations, context)
    scope.pending_locals = frozenset(local_names)
    for equation in sort_equations(equations, local_names, report):
        _evaluate_equation(equation, context)
    _check_variables_assigned(model, context, equations)
    laws, terms = evaluate_laws(statements, evaluator), evaluate_loss_terms(statements, evaluator)
    for operators in (environment, file_operators):
        check_unused_operators(operators, annotations, builder.applied_operators, report)
    graph = finalize_graph(
        model.name, evaluator, variables, context.predictions, laws, terms, model.span
    )
    # Unreadable lines of the model or an operator may hold delays, so time is not checked.
    has_syntax_errors = environment.has_error_statements() or any(
        isinstance(s, syntax.ErrorStatement) for s in statements
    )
    if graph is not None and not has_syntax_errors:
        check_causality(graph, evaluator.builder.state_reads, report)
        warn_shadowed_parameters(model, annotations, builder.parameter_table, report)
    return None if report.has_errors else graph


def _collect_equations(
    statements: Sequence[syntax.Statement], context: ModelContext
) -> list[syntax.Equation]:
    report = context.evaluator.report
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
                context.evaluator.scope.poison(*names_in(statement.value))
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


def _collect_locals(equations: Sequence[syntax.Equation], context: ModelContext) -> list[str]:
    """Check all left sides and return the names of the locals."""
    first_spans: dict[str, Span] = {}
    report, scope = context.evaluator.report, context.evaluator.scope
    for equation in equations:
        for target in flatten_targets(equation.target):
            match target:
                case syntax.Name(name):
                    variable = context.variables.get(name)
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
                        _declare_local(target, first_spans, context)
                case syntax.Primed(syntax.Name(name)) | syntax.Timed(syntax.Name(name)):
                    if name not in context.variables and not scope.is_poisoned(name):
                        _report_undeclared(target, name, context)
                case _:
                    scope.poison(*names_in(target))
                    report.error(
                        "RNN111",
                        f"`{target.span.text}` cannot be set",
                        target.span,
                        hint="a left side is `h'`, `x'`, an output, a new name, or a tuple of them",
                    )
    return list(first_spans)


def _report_undeclared(target: syntax.Expression, name: str, context: ModelContext) -> None:
    scope = context.evaluator.scope
    closest = closest_name(name, context.variables)
    scope.poison(name, *([closest] if closest else []))
    context.evaluator.report.error(
        "RNN201",
        f"`{name}` is not declared",
        target.span,
        hint=f"did you mean `{closest}`?" if closest else f"declare it: `state {name}: real[200]`",
    )


def _declare_local(
    target: syntax.Name, first_spans: dict[str, Span], context: ModelContext
) -> None:
    report, scope = context.evaluator.report, context.evaluator.scope
    name = target.name
    if name in first_spans:
        report.error(
            "RNN205",
            f"`{target.span.text}` is set twice",
            target.span,
            "again here",
            related=(Label(first_spans[name], "first here"),),
            hint="a name stands for one value; use another name",
        )
    elif name in scope.annotations:
        context.evaluator.builder.parameter_table.report_redeclaration(
            target, scope.annotations[name].span
        )
    elif name in RESERVED_FUNCTIONS or name == "t":
        report.error(
            "RNN108",
            f"`{target.span.text}` is a reserved name",
            target.span,
            hint="it is the current time" if name == "t" else "it is a function of the language",
        )
        scope.values[name] = None
    first_spans.setdefault(name, target.span)


def _evaluate_equation(equation: syntax.Equation, context: ModelContext) -> None:
    evaluator = context.evaluator
    try:
        value: Value | None = evaluator.evaluate(equation.value)
        if equation.type is not None and value is not None:
            value = apply_type_annotation(evaluator, equation.type, value, equation)
    except ElaborationError:
        value = None
    settable = (syntax.Name, syntax.Primed, syntax.Timed)
    if all(isinstance(target, settable) for target in flatten_targets(equation.target)):
        _assign_target(equation.target, value, equation, context)


def _assign_target(
    target: syntax.Expression, value: Value | None, equation: syntax.Equation, context: ModelContext
) -> None:
    evaluator = context.evaluator
    if isinstance(target, syntax.Parentheses):
        parts: Sequence[Value | None] = [None] * len(target.arguments)
        if value is not None:
            with suppress(ElaborationError):
                parts = unpack_tuple(evaluator, target, value, equation)
        for argument, part in zip(target.arguments, parts, strict=True):
            _assign_target(argument.value, part, equation, context)
        return
    if isinstance(target, syntax.Name) and target.name not in context.variables:
        evaluator.scope.values.setdefault(target.name, value)
        if value is not None:
            evaluator.builder.named_values.append((target.name, value, target.span))
        return
    try:
        _assign_variable(target, value, equation, context)
    except ElaborationError:
        return


def _assign_variable(
    target: syntax.Expression, value: Value | None, equation: syntax.Equation, context: ModelContext
) -> None:
    evaluator = context.evaluator
    name, steps = _target_time(target, evaluator)
    variable = context.variables.get(name)
    if variable is None or (isinstance(target, syntax.Name) and variable.role != "output"):
        return
    expected = 1 if variable.role == "input" else 0
    if steps != expected:
        evaluator.scope.poison(name)
        example = {"input": f"{name}'", "state": f"{name}'", "output": name}[variable.role]
        evaluator.fail(
            "RNN111",
            f"`{target.span.text}` cannot be set",
            target.span,
            hint=f"an equation sets `{example}`",
        )
    if variable.target_span is not None:
        evaluator.fail(
            "RNN205",
            f"`{target.span.text}` is set twice",
            target.span,
            "again here",
            related=(Label(variable.target_span, "first here"),),
            hint="one equation sets a variable; add the two right sides, or use another name",
        )
    variable.target_span, variable.value_span = target.span, equation.value.span
    if value is None:
        return
    if isinstance(value, Literal):
        operand = evaluator.builder.add_node(
            "constant", (), variable.size, equation.value.span, (float(value.value),)
        )
        value = Vector(operand, variable.size)
    if isinstance(value, TupleValue):
        _report_tuple_for_variable(variable, len(value.parts), equation, context)
    vector = evaluator.to_vector(value, equation.value.span)
    unify_target_size(evaluator, variable.size, vector, equation)
    if variable.role == "input":
        context.predictions[name] = (vector, target.span, equation.value.span)
    elif variable.role == "state":
        evaluator.builder.nodes[variable.node].operands = (vector.operand,)
    variable.value = vector


def _report_tuple_for_variable(
    variable: Variable, parts: int, equation: syntax.Equation, context: ModelContext
) -> None:
    """Report a tuple on the right of one variable; poison the states it was meant for."""
    unset_states = [
        v.name for v in context.variables.values() if v.role == "state" and v.target_span is None
    ]
    names = [variable.name, *unset_states][:parts]
    if variable.role != "state" or len(names) < parts:
        return
    context.evaluator.scope.poison(*names)
    target = ", ".join(f"{name}'" for name in names)
    context.evaluator.fail(
        "RNN307",
        f"`{equation.target.span.text}` takes one value, and the right side is a tuple of {parts}",
        equation.value.span,
        hint=f"take it apart: `({target}) = …`",
    )


def _target_time(target: syntax.Expression, evaluator: Evaluator) -> tuple[str, int]:
    """Return the variable of a left side and the step that it sets, 0 being the current one."""
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
            return name, evaluator.time_offset(time)
        case _:
            raise ElaborationError


def _check_variables_assigned(
    model: syntax.Model, context: ModelContext, equations: Sequence[syntax.Equation]
) -> None:
    report = context.evaluator.report
    for variable in context.variables.values():
        if variable.target_span is not None or variable.role == "input":
            continue
        if context.evaluator.scope.is_poisoned(variable.name):
            continue
        prime = "'" if variable.role == "state" else ""
        report.error(
            "RNN204",
            f"`{variable.name}` is never set",
            variable.span,
            f"a declared {variable.role}",
            hint=f"add an equation: `{variable.name}{prime} = …`",
        )
    has_output = any(v.role == "output" for v in context.variables.values())
    has_prediction = any(
        isinstance(t, syntax.Primed | syntax.Timed)
        and (v := context.variables.get(t.name.name)) is not None
        and v.role == "input"
        for equation in equations
        for t in flatten_targets(equation.target)
    )
    if not (
        has_output or has_prediction or report.has_errors or context.evaluator.scope.poisoned_names
    ):
        first = next((v for v in context.variables.values() if v.role == "input"), None)
        example = f"{first.name}' = ▷ h'" if first else "output y: real"
        report.error(
            "RNN114",
            f"model `{model.name}` gives nothing: it has no output and predicts no input",
            Span(model.span.source, model.span.start, min(model.span.end, model.span.start + 1)),
            hint=f"add `{example}`",
        )
