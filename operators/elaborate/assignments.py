"""Match values with the left sides of equations: annotations, sizes, tuples."""

from __future__ import annotations

from rnnc.grammar import syntax
from rnnc.grammar.diagnostics.diagnostic import Label
from rnnc.operators.elaborate.context.size_inference import SizeConflictError, SizeOrigin
from rnnc.operators.elaborate.context.values import ElaborationError, TupleValue, Value, Vector
from rnnc.operators.elaborate.expressions.evaluator import Evaluator


def apply_type_annotation(
    evaluator: Evaluator, type_: syntax.Type, value: Value, equation: syntax.Equation
) -> Value:
    """Return an equation's value after unifying its size with the annotated one."""
    if type_.kind != "real" or len(type_.sizes) > 1:
        evaluator.fail(
            "RNN310",
            f"a local cannot be `{type_.span.text}`",
            type_.span,
            hint="locals are real vectors: `z: real[400] = …`",
        )
    # An annotation constrains the size alone: the mask of missing entries stays.
    vector = evaluator.to_masked_vector(value, equation.value.span)
    size = evaluator.resolve_size(type_.sizes[0]) if type_.sizes else evaluator.sizes.constant(1)
    if size is None:
        raise ElaborationError
    number = evaluator.sizes.value(size)
    if number is not None:
        target = equation.target.span.text
        origin = SizeOrigin(type_.span, f"`{target}` is annotated as {number} wide")
        size = evaluator.sizes.constant(number, origin)
    unify_target_size(evaluator, size, vector, equation)
    return vector


def unify_target_size(
    evaluator: Evaluator, size: int, vector: Vector, equation: syntax.Equation
) -> None:
    """Unify the size of an equation's value with that of its left side."""
    target, value = equation.target.span, equation.value.span
    try:
        evaluator.sizes.unify(size, vector.size)
    except SizeConflictError as conflict:
        application = evaluator.builder.nodes[vector.operand.node].application
        applications = evaluator.builder.applications
        if application >= 0:
            path = applications[application].path
            first = next(i for i, a in enumerate(applications) if a.path == path)
            last = max(i for i, a in enumerate(applications) if a.path == path)
            if first != last:
                evaluator.report_shape_conflict(first, last, conflict, target.text)
        evaluator.fail(
            "RNN301",
            f"`{target.text}` is {conflict.left} wide, and its value {conflict.right}",
            value,
            f"{conflict.right} wide",
            related=tuple(Label(o.span, o.text) for o in conflict.origins if o),
            hint="a matrix in front changes a size: `W (…)`; or change one of the declarations",
        )


def unpack_tuple(
    evaluator: Evaluator, target: syntax.Parentheses, value: Value, equation: syntax.Equation
) -> tuple[Value, ...]:
    """Return the values for the targets of a tuple on a left side."""
    parts = value.parts if isinstance(value, TupleValue) else (value,)
    if len(parts) != len(target.arguments):
        received = f"a tuple of {len(parts)}" if len(parts) > 1 else "one value"
        evaluator.fail(
            "RNN307",
            f"the left side takes {len(target.arguments)} values, and the right side is {received}",
            equation.span,
            hint="both sides have the same number of values, in the same order",
        )
    return parts
