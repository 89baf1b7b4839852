"""Operators that nothing uses are read, too: a mistyped name in one is still a mistake."""

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
    """Report the mistakes in names of an environment's operators that are not among `applied_operators`.

    What depends on sizes and on arguments is only known where an operator is used.
    """
    reached: set[Span] = set()  # what an unused operator uses has been read with it
    for name, definition in environment.definitions.items():
        if not isinstance(definition, Definition) or definition.environment is not environment:
            continue
        if definition.operator.span in applied_operators or definition.operator.span in reached:
            continue
        found = Report()
        assembly = GraphBuilder(found)
        scope = Scope(environment, annotations=annotations)
        evaluator = Evaluator(assembly, scope, apply_operator, call_function)
        operator = definition.operator
        values = [_placeholder_value(operand, assembly) for operand in operator.operands]
        with suppress(ElaborationError):
            apply_operator(evaluator, name, values, operator.span)
        reached |= assembly.applied_operators
        for diagnostic in found:
            if (
                diagnostic.code[:4] in {"RNN1", "RNN2"}
                and diagnostic.code not in _USE_DEPENDENT_CODES
            ):
                report.add(diagnostic)


def _placeholder_value(operand: syntax.Operand, builder: GraphBuilder) -> Value:
    if operand.parts:
        return TupleValue(tuple(_placeholder_value(part, builder) for part in operand.parts))
    size = builder.sizes.new_size()
    made = builder.add_node(
        "input", (), size, operand.span, (operand.span.text,), deduplicate=False
    )
    return Vector(made, size)
