"""Values against left sides: annotations, widths, tuples taken apart."""

from __future__ import annotations

from rnnc.grammar import syntax
from rnnc.grammar.diagnostics.diagnostic import Label
from rnnc.operators.elaborate.context.size_inference import Conflict, Origin
from rnnc.operators.elaborate.context.values import Stop, TupleValue, Value, Vector
from rnnc.operators.elaborate.expressions.evaluator import Evaluator


def annotated(
    evaluator: Evaluator, type_: syntax.Type, value: Value, equation: syntax.Equation
) -> Value:
    """A value that must have the annotated width."""
    if type_.kind != "real" or len(type_.sizes) > 1:
        evaluator.fail(
            "RNN310",
            f"a local cannot be `{type_.span.text}`",
            type_.span,
            hint="locals are real vectors: `z: real[400] = …`",
        )
    # It says a width and nothing else: what is missing stays missing.
    vector = evaluator.partial(value, equation.value.span)
    size = evaluator.size(type_.sizes[0]) if type_.sizes else evaluator.sizes.known(1)
    if size is None:
        raise Stop
    number = evaluator.sizes.value(size)
    if number is not None:
        target = equation.target.span.text
        origin = Origin(type_.span, f"`{target}` is annotated as {number} wide")
        size = evaluator.sizes.known(number, origin)
    fit(evaluator, size, vector, equation)
    return vector


def fit(evaluator: Evaluator, size: int, vector: Vector, equation: syntax.Equation) -> None:
    """Demand that an equation's value is as wide as its left side."""
    target, value = equation.target.span, equation.value.span
    try:
        evaluator.sizes.unify(size, vector.size)
    except Conflict as conflict:
        number = evaluator.assembly.nodes[vector.operand.node].application
        applications = evaluator.assembly.applications
        if number >= 0:
            path = applications[number].path
            earlier = next(i for i, a in enumerate(applications) if a.path == path)
            latest = max(i for i, a in enumerate(applications) if a.path == path)
            if earlier != latest:
                evaluator.two_shapes(earlier, latest, conflict, target.text)
        evaluator.fail(
            "RNN301",
            f"`{target.text}` is {conflict.left} wide, and its value {conflict.right}",
            value,
            f"{conflict.right} wide",
            related=tuple(Label(o.span, o.text) for o in conflict.origins if o),
            hint="a matrix in front changes a size: `W (…)`; or change one of the declarations",
        )


def parts_of(
    evaluator: Evaluator, target: syntax.Parentheses, value: Value, equation: syntax.Equation
) -> tuple[Value, ...]:
    """The values for the names of a tuple on a left side."""
    parts = value.parts if isinstance(value, TupleValue) else (value,)
    if len(parts) != len(target.arguments):
        got = f"a tuple of {len(parts)}" if len(parts) > 1 else "one value"
        evaluator.fail(
            "RNN307",
            f"the left side takes {len(target.arguments)} values, and the right side is {got}",
            equation.span,
            hint="both sides have the same number of values, in the same order",
        )
    return parts
