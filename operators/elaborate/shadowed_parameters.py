"""Warn of names whose scope may surprise: shadowed and unused parameters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from rnnc.grammar import syntax
from rnnc.grammar.diagnostics.diagnostic import Label
from rnnc.grammar.diagnostics.report import Report
from rnnc.grammar.source import Span
from rnnc.grammar.symbols import display_name
from rnnc.grammar.syntax import names_in
from rnnc.operators.elaborate.context.parameters import (
    ParameterAnnotations,
    ParameterTable,
    is_bias_name,
)


def warn_shadowed_parameters(
    model: syntax.Model,
    annotations: Mapping[str, ParameterAnnotations],
    table: ParameterTable,
    report: Report,
) -> None:
    """Warn of a model's names that an operator's body uses as its own (RNN218, RNN220)."""
    static_spans = {parameter.name.name: parameter.name.span for parameter in model.parameters}
    for term, declaration in _shadowed_terms(model.body, static_spans):
        report.warning(
            "RNN218",
            f"`{term.span.text}` in this body is the model's `{term.name}`, not a bias",
            term.span,
            "a constant here",
            related=(Label(declaration, "declared here"),),
            hint="rename one of the two if the operator is to have a bias of its own",
        )
    mentioned = set(_mentioned_names(model.body))
    for name, annotation in annotations.items():
        users = {operator for operator, _ in table.uses.get(name, ())}
        if not users and name not in mentioned:
            report.warning(
                "RNN220",
                f"this `param` line annotates nothing: no equation uses `{annotation.span.text}`",
                annotation.span,
                hint="it stands in the body of the operator whose parameter it annotates, or in "
                "the model for the model's own",
            )
        elif len(users) == 1 and None not in users:
            operator, use = table.uses[name][0]
            report.warning(
                "RNN218",
                f"`{annotation.span.text}` of the model captures the `{annotation.span.text}` of "
                f"`{display_name(operator or '')}`, and nothing else uses it",
                annotation.span,
                "one matrix or vector of the model",
                related=(Label(use, "captured here"),),
                hint=f"move the line into the body of `{display_name(operator or '')}` to annotate "
                "its own parameter; a `param` of the model is for what several places share",
            )


def warn_unused_annotations(
    body: Sequence[syntax.Statement],
    annotations: Mapping[str, ParameterAnnotations],
    parameters: Mapping[str, object],
    path: str,
    report: Report,
) -> None:
    """Warn of `param` lines in an operator's body that annotate nothing (RNN220)."""
    mentioned: set[str] | None = None
    for name, annotation in annotations.items():
        if f"{path}.{name}" in parameters:
            continue
        mentioned = set(_mentioned_names(body)) if mentioned is None else mentioned
        if name not in mentioned:
            report.warning(
                "RNN220",
                "this `param` line annotates nothing: "
                f"the body does not use `{annotation.span.text}`",
                annotation.span,
                hint="delete it, or correct the name",
            )


def _mentioned_names(statements: Sequence[syntax.Statement]) -> Iterator[str]:
    for statement in statements:
        match statement:
            case syntax.Parameter() | syntax.Use() | syntax.ErrorStatement():
                pass
            case syntax.For(body=body) | syntax.Operator(body=body):
                yield from _mentioned_names(body)
            case syntax.If(body=body, orelse=orelse):
                yield from _mentioned_names((*body, *orelse))
            case _:
                yield from names_in(statement)


def _shadowed_terms(
    statements: Sequence[syntax.Statement],
    static_spans: Mapping[str, Span],
    *,
    in_body: bool = False,
) -> Iterator[tuple[syntax.Name, Span]]:
    """Yield static names of a model used as a term of a sum, where a bias would stand."""
    for statement in statements:
        match statement:
            case syntax.For(variable=variable, body=body):
                visible = (
                    static_spans if in_body else {**static_spans, variable.name: variable.span}
                )
                yield from _shadowed_terms(body, visible, in_body=in_body)
            case syntax.If(body=body, orelse=orelse):
                yield from _shadowed_terms((*body, *orelse), static_spans, in_body=in_body)
            case syntax.Operator(operands=operands, parameters=parameters, body=body):
                operand_names = {p.name.name for p in parameters} | set(names_in(operands))
                visible = {
                    name: span for name, span in static_spans.items() if name not in operand_names
                }
                yield from _shadowed_terms(body, visible, in_body=True)
            case syntax.Equation(value=value) | syntax.Result(value=value) if in_body:
                for term in _sum_terms(value):
                    if term.name in static_spans and is_bias_name(term.name):
                        yield term, static_spans[term.name]
            case _:
                pass


def _sum_terms(tree: object) -> Iterator[syntax.Name]:
    for node in syntax.walk(tree):
        if isinstance(node, syntax.Chain) and any(sign in "+-" for sign, _ in node.operations):
            operands = [node.first, *(operand for _, operand in node.operations)]
            yield from (operand for operand in operands if isinstance(operand, syntax.Name))
