"""Evaluate calls of the language's functions: check constants, size operands, carry masks."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from rnnc.grammar import syntax
from rnnc.grammar.source import Span
from rnnc.operators.elaborate.context.size_inference import SizeConflictError
from rnnc.operators.elaborate.context.values import (
    ElaborationError,
    Literal,
    TupleValue,
    Value,
    Vector,
)
from rnnc.operators.semantics.primitives import PRIMITIVES_BY_NAME, Primitive

from .evaluator import Evaluator
from .log_space import logarithm
from .windows import fill_missing, intersect_masks, with_log_mask


def call_function(
    evaluator: Evaluator, name: syntax.Name, arguments: syntax.Parentheses, span: Span
) -> Value:
    """Return the value of `name(arguments)`: a function of the language or a named operator."""
    expressions = [argument.value for argument in arguments.arguments]
    named_argument = next((a for a in arguments.arguments if a.keyword or a.type), None)
    if named_argument is not None:
        evaluator.fail(
            "RNN208",
            "a call takes no arguments by name",
            named_argument.span,
            hint=f"instantiate the template first: `operator f = {name.name}(…)`, then call `f`",
        )
    if name.name == "split":
        return _call_split(evaluator, expressions, span)
    primitive = PRIMITIVES_BY_NAME.get(name.name)
    if primitive is not None:
        return _call_primitive(evaluator, primitive, name, expressions, span)
    if not evaluator.scope.environment.is_defined(name.name):
        evaluator.report_unknown_function(name)
    return evaluator.apply_operator(evaluator, name.name, evaluator.evaluate_all(expressions), span)


def _call_primitive(
    evaluator: Evaluator,
    primitive: Primitive,
    name: syntax.Name,
    arguments: list[syntax.Expression],
    span: Span,
) -> Value:
    expected = len(primitive.constants) + len(primitive.operands)
    if len(arguments) != expected:
        evaluator.fail(
            "RNN207",
            f"`{name.span.text}` takes {expected} argument{'s' if expected > 1 else ''}, "
            f"and got {len(arguments)}",
            span,
            hint=f"write `{primitive.signature}`: {primitive.meaning}",
        )
    attributes: list[int | float | str | bool] = []
    for (label, test, requirement), expression in zip(primitive.constants, arguments, strict=False):
        value = evaluator.evaluate_constant(expression)
        if not test(value):
            evaluator.fail(
                "RNN309",
                f"`{label}` of `{primitive.name}` is {value:g}",
                expression.span,
                hint=f"it must be {requirement}",
            )
        attributes.append(int(value) if label == "k" else float(value))
    operands = arguments[len(primitive.constants) :]
    spans = [operand.span for operand in operands]
    accepts_mask = primitive.shape_rule == "elementwise" or primitive.name in _MASK_PRESERVING
    vectors = [
        (evaluator.to_masked_vector if accepts_mask else evaluator.to_vector)(value, operand_span)
        for value, operand_span in zip(evaluator.evaluate_all(operands), spans, strict=True)
    ]
    if primitive.name == "sqrt":
        vectors = [fill_missing(evaluator, vectors[0], span)]
    special_result = _call_special(evaluator, primitive.name, vectors, span)
    if special_result is not None:
        return special_result
    size = vectors[0].size
    match primitive.shape_rule:
        case "groups":
            size = _group_count(evaluator, vectors, spans, int(attributes[0]), span)
        case "scalar":
            if len(vectors) == 2:
                evaluator.unify(vectors[0].size, vectors[1].size, span, spans[0], spans[1])
            size = evaluator.sizes.constant(1)
        case _:
            for vector, operand_span in zip(vectors[1:], spans[1:], strict=True):
                if evaluator.sizes.value(vector.size) != 1:
                    evaluator.unify(size, vector.size, span, spans[0], operand_span)
    if primitive.is_random and (attributes[0] == 0 or evaluator.scope.in_law):
        return _evaluation_form(evaluator, primitive, float(attributes[0]), vectors, span)
    result = evaluator.add_vector(
        primitive.name,
        tuple(vector.operand for vector in vectors),
        size,
        span,
        tuple(attributes),
        deduplicate=not primitive.is_random,
    )
    return _propagate_mask(evaluator, result, vectors, span)


_MASK_PRESERVING: Final = frozenset({"softmax", "dropout", "variational", "zoneout", "stopgrad"})
"""Functions that accept vectors with missing entries, besides the elementwise ones."""


def _propagate_mask(
    evaluator: Evaluator, result: Vector, vectors: list[Vector], span: Span
) -> Vector:
    """Return an elementwise result with the entries that all operands have."""
    mask = intersect_masks(evaluator, [*vectors, result], result.size, span)
    return result if mask == result.mask else replace(result, mask=mask)


def _call_special(
    evaluator: Evaluator, name: str, vectors: list[Vector], span: Span
) -> Vector | None:
    """Return functions that become other operations; None for all others."""
    (first, *_) = vectors
    match name:
        case "identity":
            return first
        case "softmax" if first.mask is not None:
            operands = (first.operand, first.mask)
            softmax = evaluator.add_vector("masked_softmax", operands, first.size, span)
            return replace(softmax, log_mask=first.mask)
        case "log":
            mask = intersect_masks(evaluator, [first, with_log_mask(first)], first.size, span)
            masked = replace(first, mask=mask)
            return _propagate_mask(evaluator, logarithm(evaluator, masked, span), [masked], span)
        case _:
            return None


def _evaluation_form(
    evaluator: Evaluator, primitive: Primitive, p: float, vectors: list[Vector], span: Span
) -> Vector:
    """Return a random function as in evaluation, for laws and a probability of 0."""
    if primitive.name != "zoneout" or p == 0:
        return vectors[0]
    new, old = vectors
    terms: list[Vector] = []
    for weight, vector in ((1 - p, new), (p, old)):
        factor = evaluator.to_vector(Literal(weight), span)
        terms.append(
            evaluator.add_vector("multiply", (factor.operand, vector.operand), vector.size, span)
        )
    return evaluator.add_vector("add", (terms[0].operand, terms[1].operand), new.size, span)


def _group_count(
    evaluator: Evaluator, vectors: list[Vector], spans: list[Span], k: int, span: Span
) -> int:
    sizes = evaluator.sizes
    unit_count = sizes.new_size()
    for vector in vectors[1:]:
        if sizes.value(vector.size) != 1:
            unit_count = vector.size
    try:
        sizes.require_sum(vectors[0].size, (unit_count,), k)
    except SizeConflictError as conflict:
        evaluator.fail(
            "RNN301",
            f"`{spans[0].text}` is {conflict.left} wide and does not fall into groups of {k}"
            + (f" for {conflict.right // k} units" if conflict.left % k == 0 else ""),
            span,
            hint=f"choose a width that is a multiple of {k}",
        )
    return unit_count


def _call_split(evaluator: Evaluator, arguments: list[syntax.Expression], span: Span) -> Value:
    if len(arguments) < 3:
        evaluator.fail(
            "RNN207",
            "`split` takes a vector and at least two sizes",
            span,
            hint="write `(p, g) = split(a, 100, 1)`",
        )
    vector = evaluator.to_masked_vector(evaluator.evaluate(arguments[0]), arguments[0].span)
    part_sizes = [evaluator.resolve_size(expression) for expression in arguments[1:]]
    values = [None if dim is None else evaluator.sizes.value(dim) for dim in part_sizes]
    if None in part_sizes:
        raise ElaborationError
    if None in values:
        evaluator.fail(
            "RNN303",
            "the sizes of `split` are not known here",
            span,
            hint="write numbers or parameters: `split(a, 100, 1)`",
        )
    numbers = [value for value in values if value is not None]
    try:
        evaluator.sizes.unify(vector.size, evaluator.sizes.constant(sum(numbers)))
    except SizeConflictError as conflict:
        evaluator.fail(
            "RNN301",
            f"`{arguments[0].span.text}` is {conflict.left} wide, and the parts add up to "
            f"{conflict.right}",
            span,
            hint="the sizes of the parts add up to the size of the whole",
        )
    parts: list[Value] = []
    start = 0
    for value in numbers:
        size, bounds = evaluator.sizes.constant(value), (start, start + value)
        part = evaluator.add_vector("slice", (vector.operand,), size, span, bounds)
        if vector.mask is not None:
            part_mask = evaluator.add_vector("slice", (vector.mask,), size, span, bounds)
            part = replace(part, mask=part_mask.operand)
        if vector.log_mask is not None:
            part_log_mask = evaluator.add_vector("slice", (vector.log_mask,), size, span, bounds)
            part = replace(part, log_mask=part_log_mask.operand)
        parts.append(part)
        start += value
    return TupleValue(tuple(parts))
