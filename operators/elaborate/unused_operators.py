"""Operators that nothing uses are read, too: a mistyped name in one is still a mistake."""

from __future__ import annotations

from collections.abc import Container, Mapping
from contextlib import suppress
from typing import Final

from rnnc.grammar import syntax
from rnnc.grammar.diagnostics.report import Report
from rnnc.grammar.source import Span
from rnnc.operators.elaborate.context.environment import Definition, Environment
from rnnc.operators.elaborate.context.graph_builder import Assembly
from rnnc.operators.elaborate.context.parameters import Annotations
from rnnc.operators.elaborate.context.scope import Scope
from rnnc.operators.elaborate.context.values import Stop, TupleValue, Value, Vector
from rnnc.operators.elaborate.expressions.evaluator import Evaluator
from rnnc.operators.elaborate.expressions.function_calls import call

from .operator_applications import apply

_DEPENDS_ON_USE: Final = frozenset({"RNN211", "RNN213", "RNN214", "RNN218", "RNN219", "RNN220"})


def check_unused(
    environment: Environment,
    annotations: Mapping[str, Annotations],
    used: Container[Span],
    report: Report,
) -> None:
    """Report the mistakes in names of an environment's operators that are not among `used`.

    What depends on sizes and on arguments is only known where an operator is used.
    """
    reached: set[Span] = set()  # what an unused operator uses has been read with it
    for name, definition in environment.own.items():
        if not isinstance(definition, Definition) or definition.environment is not environment:
            continue
        if definition.operator.span in used or definition.operator.span in reached:
            continue
        found = Report()
        assembly = Assembly(found)
        scope = Scope(environment, annotations=annotations)
        evaluator = Evaluator(assembly, scope, apply, call)
        operator = definition.operator
        values = [_some_value(operand, assembly) for operand in operator.operands]
        with suppress(Stop):
            apply(evaluator, name, values, operator.span)
        reached |= assembly.used
        for diagnostic in found:
            if diagnostic.code[:4] in {"RNN1", "RNN2"} and diagnostic.code not in _DEPENDS_ON_USE:
                report.add(diagnostic)


def _some_value(operand: syntax.Operand, assembly: Assembly) -> Value:
    if operand.parts:
        return TupleValue(tuple(_some_value(part, assembly) for part in operand.parts))
    size = assembly.sizes.unknown()
    made = assembly.add("input", (), size, operand.span, (operand.span.text,), shared=False)
    return Vector(made, size)
