"""Elaborate `law a ≈ b weight w` to pairs of values that a soft constraint keeps close."""

from __future__ import annotations

from collections.abc import Iterable

from rnnc.grammar import syntax
from rnnc.operators.elaborate.context.size_inference import SizeConflictError
from rnnc.operators.elaborate.context.values import ElaborationError
from rnnc.operators.elaborate.expressions.evaluator import Evaluator
from rnnc.operators.graph.operator_graph import Law, Operand


def evaluate_laws(
    statements: Iterable[syntax.Statement], evaluator: Evaluator
) -> list[tuple[Law, Operand, Operand]]:
    """Return the laws of a model with the operands of both sides.

    Variables count as constants inside, and random functions take their form of evaluation.
    """
    laws: list[tuple[Law, Operand, Operand]] = []
    evaluator.scope.in_law = True
    for statement in statements:
        if not isinstance(statement, syntax.Law):
            continue
        try:
            weight = (
                1.0 if statement.weight is None else evaluator.evaluate_constant(statement.weight)
            )
            left, right = evaluator.evaluate_all([statement.left, statement.right])
            a = evaluator.to_vector(left, statement.left.span)
            b = evaluator.to_vector(right, statement.right.span)
            evaluator.sizes.unify(a.size, b.size)
        except ElaborationError:
            continue
        except SizeConflictError as conflict:
            evaluator.report.error(
                "RNN301",
                f"the sides of this law are {conflict.left} and {conflict.right} wide",
                statement.span,
                hint="the two sides are compared entry by entry",
            )
            continue
        if weight < 0:
            evaluator.report.error(
                "RNN309", f"a law cannot weigh {weight:g}", statement.span, hint="weigh it from 0"
            )
            continue
        law = Law(a.operand, b.operand, float(weight), statement.span.text, statement.span)
        laws.append((law, a.operand, b.operand))
    evaluator.scope.in_law = False
    return laws
