"""Check unused operators, in which a mistyped name is a mistake, too.

Each is applied to operands of unknown size; mistakes in sizes and arguments are ignored.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from contextlib import suppress
from typing import Final

from rnnc.grammar import syntax
from rnnc.grammar.diagnostics.report import Report
from rnnc.grammar.source import Span
from rnnc.operators.elaborate.context.environment import Definition, Environment
from rnnc.operators.elaborate.context.graph_builder import GraphBuilder
from rnnc.operators.elaborate.context.parameters import ParameterAnnotations
from rnnc.operators.elaborate.context.scope import Scope
from rnnc.operators.elaborate.context.values import ElaborationError, TupleValue, Value, Vector
from rnnc.operators.elaborate.expressions.evaluator import Evaluator
from rnnc.operators.elaborate.expressions.function_calls import call_function

from .operator_applications import apply_operator

_USE_DEPENDENT_CODES: Final = frozenset(
    {"RNN211", "RNN213", "RNN214", "RNN218", "RNN219", "RNN220"}
)


def check_unused_operators(
    environment: Environment,
    annotations: Mapping[str, ParameterAnnotations],
    applied_operators: Container[Span],
    report: Report,
) -> None:
    """Report the mistakes in the names of operators that are not applied."""
    checked: set[Span] = set()  # operators that an unused one applies are checked with it
    for name, definition in environment.definitions.items():
        if not isinstance(definition, Definition) or definition.environment is not environment:
            continue
        if definition.operator.span in applied_operators or definition.operator.span in checked:
            continue
        operator_report = Report()
        builder = GraphBuilder(operator_report)
        scope = Scope(environment, annotations=annotations)
        evaluator = Evaluator(builder, scope, apply_operator, call_function)
        operator = definition.operator
        values = [_placeholder_value(operand, builder) for operand in operator.operands]
        with suppress(ElaborationError):
            apply_operator(evaluator, name, values, operator.span)
        checked |= builder.applied_operators
        for diagnostic in operator_report:
            if (
                diagnostic.code[:4] in {"RNN1", "RNN2"}
                and diagnostic.code not in _USE_DEPENDENT_CODES
            ):
                report.add(diagnostic)


def _placeholder_value(operand: syntax.Operand, builder: GraphBuilder) -> Value:
    if operand.parts:
        return TupleValue(tuple(_placeholder_value(part, builder) for part in operand.parts))
    size = builder.sizes.new_size()
    operand_node = builder.add_node(
        "input", (), size, operand.span, (operand.span.text,), deduplicate=False
    )
    return Vector(operand_node, size)
