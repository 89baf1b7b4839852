"""Names that mean something else than their writer may think: captured or unused parameters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from rnnc.grammar import syntax
from rnnc.grammar.diagnostics.diagnostic import Label
from rnnc.grammar.diagnostics.report import Report
from rnnc.grammar.diagnostics.suggestions import shown
from rnnc.grammar.source import Span
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
    """Warn of a model's names that an operator's body takes for its own (RNN218, RNN220)."""
    static = {parameter.name.name: parameter.name.span for parameter in model.parameters}
    for term, declared in _shadowed_terms(model.body, static):
        report.warning(
            "RNN218",
            f"`{term.span.text}` in this body is the model's `{term.name}`, not a bias",
            term.span,
            "a constant here",
            related=(Label(declared, "declared here"),),
            hint="rename one of the two if the operator is to have a bias of its own",
        )
    mentioned = set(_mentioned_names(model.body))
    for name, said in annotations.items():
        users = {operator for operator, _ in table.uses.get(name, ())}
        if not users and name not in mentioned:
            report.warning(
                "RNN220",
                f"this `param` line annotates nothing: no equation uses `{said.span.text}`",
                said.span,
                hint="it stands in the body of the operator whose parameter it annotates, or in "
                "the model for the model's own",
            )
        elif len(users) == 1 and None not in users:
            operator, place = table.uses[name][0]
            report.warning(
                "RNN218",
                f"`{said.span.text}` of the model captures the `{said.span.text}` of "
                f"`{shown(operator or '')}`, and nothing else uses it",
                said.span,
                "one matrix or vector of the model",
                related=(Label(place, "captured here"),),
                hint=f"move the line into the body of `{shown(operator or '')}` to annotate its "
                "own parameter; a `param` of the model is for what several places share",
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
    for name, said in annotations.items():
        if f"{path}.{name}" in parameters:
            continue
        mentioned = set(_mentioned_names(body)) if mentioned is None else mentioned
        if name not in mentioned:
            report.warning(
                "RNN220",
                f"this `param` line annotates nothing: the body does not use `{said.span.text}`",
                said.span,
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
    statements: Sequence[syntax.Statement], static: Mapping[str, Span], *, inside: bool = False
) -> Iterator[tuple[syntax.Name, Span]]:
    """Static names of a model that stand as a term of a sum, where a bias would, in a body."""
    for statement in statements:
        match statement:
            case syntax.For(variable=variable, body=body):
                bound = static if inside else {**static, variable.name: variable.span}
                yield from _shadowed_terms(body, bound, inside=inside)
            case syntax.If(body=body, orelse=orelse):
                yield from _shadowed_terms((*body, *orelse), static, inside=inside)
            case syntax.Operator(operands=operands, parameters=parameters, body=body):
                own = {p.name.name for p in parameters} | set(names_in(operands))
                left = {name: span for name, span in static.items() if name not in own}
                yield from _shadowed_terms(body, left, inside=True)
            case syntax.Equation(value=value) | syntax.Result(value=value) if inside:
                for term in _sum_terms(value):
                    if term.name in static and is_bias_name(term.name):
                        yield term, static[term.name]
            case _:
                pass


def _sum_terms(tree: object) -> Iterator[syntax.Name]:
    for node in syntax.walk(tree):
        if isinstance(node, syntax.Chain) and any(sign in "+-" for sign, _ in node.operations):
            operands = [node.first, *(operand for _, operand in node.operations)]
            yield from (operand for operand in operands if isinstance(operand, syntax.Name))
