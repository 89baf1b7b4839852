"""Evaluate the body of an operator: its locals in topological order, then its result."""

from __future__ import annotations

from collections.abc import Sequence

from rnnc.grammar import syntax
from rnnc.grammar.diagnostics.diagnostic import Label
from rnnc.grammar.source import Span
from rnnc.grammar.symbols import display_name
from rnnc.grammar.syntax import flatten_targets, names_in
from rnnc.operators.elaborate.context.environment import Definition, expand_body
from rnnc.operators.elaborate.context.equation_order import sort_equations
from rnnc.operators.elaborate.context.parameters import ParameterAnnotations, read_annotations
from rnnc.operators.elaborate.context.values import ElaborationError, Literal, Value
from rnnc.operators.elaborate.expressions.evaluator import Evaluator
from rnnc.operators.graph.user_spans import is_library_span

from .assignments import apply_type_annotation, unpack_tuple
from .shadowed_parameters import warn_unused_annotations


def evaluate_body(body: Evaluator, definition: Definition, span: Span) -> Value:
    """Return the result of a body whose operands are bound."""
    scope, report = body.scope, body.report
    # The key is not the span: a `for` in the model defines an operator per iteration at one span.
    key = id(definition.operator), definition.arguments
    statements = body.builder.expanded_bodies.get(key)
    if statements is None:
        statements = body.builder.expanded_bodies[key] = expand_body(definition, report, span)
    scope.poisoned_names |= frozenset().union(
        *(s.names for s in statements if isinstance(s, syntax.ErrorStatement))
    )
    scope.annotations = read_annotations(statements, report)
    equations: list[syntax.Equation] = []
    results: list[syntax.Result] = []
    has_error_statement = False
    for statement in statements:
        match statement:
            case syntax.Equation():
                equations.append(statement)
            case syntax.Result():
                results.append(statement)
            case syntax.Parameter():
                pass
            case syntax.ErrorStatement():
                has_error_statement = True
            case _:
                report.error(
                    "RNN113",
                    "this cannot stand in the body of an operator",
                    statement.span,
                    hint="a body holds locals, `param` lines, `for`, `if`, and its result last",
                )
    local_names = _collect_locals(body, equations)
    scope.pending_locals = frozenset(local_names) - scope.values.keys()
    for equation in sort_equations(equations, local_names, report):
        _evaluate_local(body, equation)
    if not results:
        if has_error_statement:
            raise ElaborationError
        body.fail(
            "RNN110",
            f"the body of `{display_name(definition.operator.name.name)}` has no result",
            definition.operator.span,
            hint="the last line of a body is its result: an expression without `=`",
        )
    for second_result in results[1:]:
        report.error(
            "RNN110",
            "a body has one result",
            second_result.span,
            "a second one",
            related=(Label(results[0].span, "the first"),),
            hint="several values are a tuple: `(h, c)`",
        )
    value = body.evaluate(results[-1].value)
    if not report.has_errors and not is_library_span(definition.operator.span):
        parameters = body.builder.parameter_table.parameters
        warn_unused_annotations(
            definition.operator.body, scope.annotations, parameters, scope.path, report
        )
    return body.to_vector(value, results[-1].span) if isinstance(value, Literal) else value


def _collect_locals(body: Evaluator, equations: Sequence[syntax.Equation]) -> list[str]:
    """Return the names that a body's equations set; report names set twice."""
    scope, report = body.scope, body.report
    first: dict[str, Span] = {}
    for equation in equations:
        for target in flatten_targets(equation.target):
            if not isinstance(target, syntax.Name):
                report.error(
                    "RNN113" if isinstance(target, syntax.Primed | syntax.Timed) else "RNN111",
                    f"`{target.span.text}` cannot be set in the body of an operator",
                    target.span,
                    hint="a body sets locals, `z = …`, and ends in its result; there is no time "
                    "in it and no prime",
                )
                scope.poison(*names_in(target))
                continue
            name = target.name
            if name in first or name in scope.values:
                report.error(
                    "RNN205",
                    f"`{target.span.text}` is set twice",
                    target.span,
                    related=(Label(first[name], "first here"),) if name in first else (),
                    hint="a name stands for one value; use another name",
                )
                continue
            if name in scope.annotations:
                declared: ParameterAnnotations = scope.annotations[name]
                body.builder.parameter_table.report_redeclaration(target, declared.span)
            first[name] = target.span
    return list(first)


def _evaluate_local(evaluator: Evaluator, equation: syntax.Equation) -> None:
    """Evaluate an equation of locals; after a mistake its locals have no value."""
    names = [t for t in flatten_targets(equation.target) if isinstance(t, syntax.Name)]
    try:
        value = evaluator.evaluate(equation.value)
        if equation.type is not None:
            value = apply_type_annotation(evaluator, equation.type, value, equation)
        if all(isinstance(t, syntax.Name) for t in flatten_targets(equation.target)):
            _assign_target(evaluator, equation.target, value, equation)
    except ElaborationError:
        for name in names:
            evaluator.scope.values.setdefault(name.name, None)


def _assign_target(
    evaluator: Evaluator, target: syntax.Expression, value: Value, equation: syntax.Equation
) -> None:
    if isinstance(target, syntax.Name):
        evaluator.scope.values[target.name] = value
        evaluator.builder.named_values.append((target.name, value, target.span))
        return
    if isinstance(target, syntax.Parentheses):
        for argument, part in zip(
            target.arguments, unpack_tuple(evaluator, target, value, equation), strict=True
        ):
            _assign_target(evaluator, argument.value, part, equation)
