"""Apply operators: bind operands, inline the body, share parameters by name."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Final

from rnnc.grammar import syntax
from rnnc.grammar.diagnostics.diagnostic import Label
from rnnc.grammar.diagnostics.report import Report
from rnnc.grammar.diagnostics.suggestions import did_you_mean
from rnnc.grammar.parser import parse
from rnnc.grammar.source import Source, Span
from rnnc.grammar.symbols import OPERATOR_WORDS, ascii_name, display_name
from rnnc.operators.elaborate.context.environment import Definition, Environment
from rnnc.operators.elaborate.context.graph_builder import PendingApplication
from rnnc.operators.elaborate.context.scope import Scope
from rnnc.operators.elaborate.context.size_inference import SizeConflictError, SizeOrigin
from rnnc.operators.elaborate.context.values import (
    ElaborationError,
    Literal,
    SymbolVector,
    TupleValue,
    Value,
    Vector,
)
from rnnc.operators.elaborate.expressions.evaluator import Evaluator
from rnnc.operators.elaborate.expressions.function_calls import call_function
from rnnc.operators.graph.operator_graph import Operand
from rnnc.operators.graph.user_spans import LIBRARY

from .operator_bodies import evaluate_body

DEPTH_LIMIT: Final = 64
"""Maximal nesting of operators: inlining recurses, and `analyze` allows it 20,000 frames."""

APPLICATION_LIMIT: Final = 50_000
"""Maximal number of applications in one model, nested ones counted at each use."""


@cache
def _default_definitions() -> dict[str, Definition]:
    path = LIBRARY / "default.rnn"
    report = Report()
    file = parse(Source(path.read_text(encoding="utf-8"), "library:default", path), report)
    environment = Environment(report)
    environment.define(file.operators)
    return {name: d for name, d in environment.definitions.items() if isinstance(d, Definition)}


def apply_operator(evaluator: Evaluator, name: str, values: Sequence[Value], span: Span) -> Value:
    """Return the result of an operator for some operands, its body inlined."""
    definition = _resolve_definition(evaluator, name, span)
    scope = evaluator.scope
    evaluator.builder.applied_operators.add(definition.operator.span)
    if any(outer is definition.operator for outer in scope.operator_stack):
        evaluator.fail(
            "RNN209",
            f"`{display_name(name)}` uses itself",
            span,
            "used inside its own body",
            hint="an operator is made of others; what repeats is written with `for`",
        )
    if len(scope.operator_stack) >= DEPTH_LIMIT:
        evaluator.fail(
            "RNN214",
            f"operators are nested more than {DEPTH_LIMIT} deep",
            span,
            hint="an operator inside an operator is inlined; repeat with `for` instead",
        )
    ascii_word = ascii_name(name)
    path = f"{scope.path}.{ascii_word}" if scope.path else ascii_word
    application = len(evaluator.builder.applications)
    if application >= APPLICATION_LIMIT:
        evaluator.fail(
            "RNN214",
            f"operators are used more than {APPLICATION_LIMIT:,} times",
            span,
            hint="operators used inside operators multiply: name shared values as locals",
        )
    operands = tuple(tuple(_flatten_operands(value)) for value in values)
    evaluator.builder.applications.append(
        PendingApplication(name, path, scope.application, operands, span)
    )
    environment = definition.environment
    visible_annotations = (
        (scope.model_annotations or scope.annotations) if environment.sees_model else {}
    )
    if scope.in_operator_body:
        visible_annotations = scope.model_annotations if environment.sees_model else {}
    body_scope = Scope(
        environment,
        path,
        name,
        application,
        model_annotations=visible_annotations,
        operator_stack=(*scope.operator_stack, definition.operator),
        outer_variables=scope.outer_variables | frozenset(scope.variables),
        in_law=scope.in_law,
        poisoned_names=scope.poisoned_names,
    )
    body = Evaluator(evaluator.builder, body_scope, apply_operator, call_function)
    _bind_operands(body, definition.operator, values, span)
    result = evaluate_body(body, definition, span)
    evaluator.builder.applications[application].results = tuple(_flatten_operands(result))
    return result


def _resolve_definition(evaluator: Evaluator, name: str, span: Span) -> Definition:
    environment = evaluator.scope.environment
    definition = environment.lookup(name)
    if definition is not None:
        return definition
    if environment.is_defined(name) or name in evaluator.scope.poisoned_names:
        raise ElaborationError  # the mistake in its definition has been reported
    base_symbol = name[0]
    if base_symbol in _default_definitions():
        if name != base_symbol and environment.is_defined(base_symbol):
            evaluator.report.warning(
                "RNN219",
                f"`{display_name(name)}` is not defined and takes its default, "
                f"though `{base_symbol}` is defined",
                span,
                hint=f"different subscripts are different operators; give the definition a name "
                f"and instantiate it: `operator {base_symbol}, {display_name(name)} = name`",
            )
        return _default_definitions()[base_symbol]
    example = f"operator a {name[0]} b = …"
    if name[0] in OPERATOR_WORDS and name[0] in "▷◁△▽":
        example = f"operator {name[0]} a = …"
    evaluator.fail(
        "RNN206",
        f"`{display_name(name)}` is not defined",
        span,
        hint=did_you_mean(name, environment.visible_names()) or f"define it: `{example}`",
    )


def _flatten_operands(value: Value) -> list[Operand]:
    match value:
        case Vector(operand) | SymbolVector(operand):
            return [operand]
        case TupleValue(parts):
            return [operand for part in parts for operand in _flatten_operands(part)]
        case _:
            return []


def _bind_operands(
    body: Evaluator, operator: syntax.Operator, values: Sequence[Value], span: Span
) -> None:
    expected = len(operator.operands)
    if len(values) != expected:
        name = display_name(operator.name.name)
        body.fail(
            "RNN207",
            f"`{name}` takes {expected} operand{'s' if expected > 1 else ''}, "
            f"and got {len(values)}",
            span,
            related=(Label(operator.span, "defined here"),),
            hint=_operands_hint(operator),
        )
    for operand, value in zip(operator.operands, values, strict=True):
        _bind_operand(body, operand, value, span)


def _operands_hint(operator: syntax.Operator) -> str:
    """Return an example of the call of an operator, and of a template's header."""
    operands = ", ".join(operand.span.text for operand in operator.operands)
    if isinstance(operator.name, syntax.Symbol):
        return "a template's parameter has a default: `operator deep(x, h, layers = 2):`"
    name = display_name(operator.name.name)
    return f"write `{name}({operands})`; a template's parameter has a default: `layers = 2`"


def _bind_operand(body: Evaluator, operand: syntax.Operand, value: Value, span: Span) -> None:
    if operand.parts:
        parts = value.parts if isinstance(value, TupleValue) else (value,)
        if len(parts) != len(operand.parts):
            body.fail(
                "RNN307",
                f"`{operand.span.text}` takes a tuple of {len(operand.parts)}, and got "
                + (f"one of {len(parts)}" if len(parts) > 1 else "one value"),
                span,
                related=(Label(operand.span, "defined here"),),
                hint="write the values in parentheses: `x ⊕ (h, c)`",
            )
        for part, item in zip(operand.parts, parts, strict=True):
            _bind_operand(body, part, item, span)
        return
    assert operand.name is not None
    if isinstance(value, TupleValue):
        body.fail(
            "RNN307",
            f"`{operand.name.name}` is one vector, and got a tuple of {len(value.parts)}",
            span,
            related=(Label(operand.span, "defined here"),),
            hint="take several values in parentheses: `operator x ⊕ (h, c) = …`",
        )
    if isinstance(value, Literal):
        value = body.to_vector(value, span)
    name = operand.name.name
    if name in body.scope.values:
        body.report.error(
            "RNN202",
            f"`{name}` is an operand twice",
            operand.span,
            hint="name them apart: `operator x ⊕ h = …`; a use may pass the same value twice",
        )
    body.scope.values[name] = value
    if operand.type is not None:
        _bind_operand_type(body, operand.type, value, span)


def _bind_operand_type(body: Evaluator, type_: syntax.Type, value: Value, span: Span) -> None:
    if not isinstance(value, Vector | SymbolVector):
        return
    if len(type_.sizes) > 1:
        body.fail("RNN310", "an operand is a vector and has one size", type_.span)
    size = type_.sizes[0] if type_.sizes else None
    sizes = body.scope.sizes
    binds_name = isinstance(size, syntax.Name) and size.name not in sizes
    if isinstance(size, syntax.Name) and binds_name:
        sizes[size.name] = value.size
        return
    expected = body.resolve_size(size) if size is not None else body.sizes.constant(1)
    if expected is None:
        return
    number = body.sizes.value(expected)
    if number is not None:
        expected = body.sizes.constant(
            number, SizeOrigin(type_.span, f"the operand is {number} wide")
        )
    try:
        body.sizes.unify(expected, value.size)
    except SizeConflictError as conflict:
        body.fail(
            "RNN301",
            f"the operand `{type_.span.text}` is {conflict.left} wide, and got {conflict.right}",
            span,
            related=(Label(type_.span, "the operand's type"),),
        )
