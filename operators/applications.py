"""Applications of operators: operands bound, the body evaluated, parameters shared by name."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Final

from ..grammar import syntax
from ..grammar.diagnostics import Label, Report
from ..grammar.parse import parse
from ..grammar.source import Source, Span
from ..grammar.symbols import WORDS, ascii_name
from .assemble import DraftApplication
from .calls import call
from .environment import Definition, Environment, body_of
from .evaluate import Evaluator
from .graph import Operand
from .modules import LIBRARY
from .naming import did_you_mean, shown
from .order import in_order, targets_of
from .parameters import Annotations, read_annotations
from .scope import Scope
from .types import Conflict, Origin
from .values import Literal, Stop, SymbolVector, TupleValue, Value, Vector

DEPTH_LIMIT: Final = 64
"""Operators inside operators inside operators."""


@cache
def _defaults() -> dict[str, Definition]:
    path = LIBRARY / "default.rnn"
    report = Report()
    file = parse(Source(path.read_text(encoding="utf-8"), "library:default", path), report)
    environment = Environment(report)
    environment.define(file.operators)
    return {name: d for name, d in environment.own.items() if isinstance(d, Definition)}


def apply(evaluator: Evaluator, name: str, values: Sequence[Value], span: Span) -> Value:
    """The result of an operator for some operands, its body inlined."""
    definition = _definition(evaluator, name, span)
    scope = evaluator.scope
    if definition.operator in scope.stack:
        evaluator.fail(
            "RNN209",
            f"`{shown(name)}` uses itself",
            span,
            "used inside its own body",
            hint="an operator is made of others; what repeats is written with `for`",
        )
    if len(scope.stack) >= DEPTH_LIMIT:
        evaluator.fail("RNN214", f"operators are nested more than {DEPTH_LIMIT} deep", span)
    word = ascii_name(name)
    path = f"{scope.path}.{word}" if scope.path else word
    number = len(evaluator.assembly.applications)
    operands = tuple(tuple(_operands_of(value)) for value in values)
    evaluator.assembly.applications.append(
        DraftApplication(name, path, scope.application, operands, span)
    )
    environment = definition.environment
    shared = (scope.shared or scope.annotations) if environment.sees_model else {}
    if scope.in_body:
        shared = scope.shared if environment.sees_model else {}
    inner = Scope(
        environment,
        path,
        name,
        number,
        shared=shared,
        stack=(*scope.stack, definition.operator),
        outside=scope.outside | frozenset(scope.variables),
        in_law=scope.in_law,
        broken=scope.broken,
    )
    body = Evaluator(evaluator.assembly, inner, apply, call)
    _bind_all(body, definition.operator, values, span)
    result = _evaluate_body(body, definition, span)
    evaluator.assembly.applications[number].results = tuple(_operands_of(result))
    return result


def _definition(evaluator: Evaluator, name: str, span: Span) -> Definition:
    environment = evaluator.scope.environment
    definition = environment.lookup(name)
    if definition is not None:
        return definition
    if environment.is_defined(name) or name in evaluator.scope.broken:
        raise Stop  # a definition with a mistake, which has been reported
    plain = name[0]
    if plain in _defaults():
        if name != plain and environment.is_defined(plain):
            evaluator.report.warning(
                "RNN219",
                f"`{shown(name)}` is not defined and takes its default, though `{plain}` is "
                "defined",
                span,
                hint=f"different subscripts are different operators; give the definition a name "
                f"and instantiate it: `operator {plain}, {shown(name)} = name`",
            )
        return _defaults()[plain]
    example = f"operator a {name[0]} b = …"
    if name[0] in WORDS and name[0] in "▷◁△▽":
        example = f"operator {name[0]} a = …"
    evaluator.fail(
        "RNN206",
        f"`{shown(name)}` is not defined",
        span,
        hint=did_you_mean(name, environment.names()) or f"define it: `{example}`",
    )


def _operands_of(value: Value) -> list[Operand]:
    match value:
        case Vector(operand) | SymbolVector(operand):
            return [operand]
        case TupleValue(parts):
            return [operand for part in parts for operand in _operands_of(part)]
        case _:
            return []


def _bind_all(
    body: Evaluator, operator: syntax.Operator, values: Sequence[Value], span: Span
) -> None:
    wanted = len(operator.operands)
    if len(values) != wanted:
        name = shown(operator.name.name)
        body.fail(
            "RNN207",
            f"`{name}` takes {wanted} operand{'s' if wanted > 1 else ''}, and got {len(values)}",
            span,
            related=(Label(operator.span, "defined here"),),
        )
    for operand, value in zip(operator.operands, values, strict=True):
        _bind(body, operand, value, span)


def _bind(body: Evaluator, operand: syntax.Operand, value: Value, span: Span) -> None:
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
            _bind(body, part, item, span)
        return
    assert operand.name is not None
    if isinstance(value, TupleValue):
        body.fail(
            "RNN307",
            f"`{operand.name.name}` is one vector, and got a tuple of {len(value.parts)}",
            span,
            related=(Label(operand.span, "defined here"),),
        )
    if isinstance(value, Literal):
        value = body.vector(value, span)
    name = operand.name.name
    if name in body.scope.values:
        body.report.error("RNN202", f"`{name}` is an operand twice", operand.span)
    body.scope.values[name] = value
    if operand.type is not None:
        _bind_type(body, operand.type, value, span)


def _bind_type(body: Evaluator, type_: syntax.Type, value: Value, span: Span) -> None:
    if not isinstance(value, Vector | SymbolVector):
        return
    if len(type_.sizes) > 1:
        body.fail("RNN310", "an operand is a vector and has one size", type_.span)
    size = type_.sizes[0] if type_.sizes else None
    sizes = body.scope.sizes
    known_name = isinstance(size, syntax.Name) and size.name not in sizes
    if isinstance(size, syntax.Name) and known_name:
        sizes[size.name] = value.size
        return
    wanted = body.size(size) if size is not None else body.sizes.known(1)
    if wanted is None:
        return
    number = body.sizes.value(wanted)
    if number is not None:
        wanted = body.sizes.known(number, Origin(type_.span, f"the operand is {number} wide"))
    try:
        body.sizes.unify(wanted, value.size)
    except Conflict as conflict:
        body.fail(
            "RNN301",
            f"the operand `{type_.span.text}` is {conflict.left} wide, and got {conflict.right}",
            span,
            related=(Label(type_.span, "the operand's type"),),
        )


def _evaluate_body(body: Evaluator, definition: Definition, span: Span) -> Value:
    scope, report = body.scope, body.report
    statements = body_of(definition, report, span)
    scope.broken |= frozenset().union(
        *(s.names for s in statements if isinstance(s, syntax.Broken))
    )
    scope.annotations = read_annotations(statements, report)
    equations: list[syntax.Equation] = []
    results: list[syntax.Result] = []
    broken = False
    for statement in statements:
        match statement:
            case syntax.Equation():
                equations.append(statement)
            case syntax.Result():
                results.append(statement)
            case syntax.Parameter():
                pass
            case syntax.Broken():
                broken = True
            case _:
                report.error(
                    "RNN113",
                    "this cannot stand in the body of an operator",
                    statement.span,
                    hint="a body holds locals, `param` lines, `for`, `if`, and its result last",
                )
    own = _locals(body, equations)
    for equation in in_order(equations, own, report):
        set_local(body, equation)
    if not results:
        if broken:
            raise Stop
        body.fail(
            "RNN110",
            f"the body of `{shown(definition.operator.name.name)}` has no result",
            definition.operator.span,
            hint="the last line of a body is its result: an expression without `=`",
        )
    for extra in results[1:]:
        report.error(
            "RNN110",
            "a body has one result",
            extra.span,
            "a second one",
            related=(Label(results[0].span, "the first"),),
            hint="several values are a tuple: `(h, c)`",
        )
    value = body.evaluate(results[-1].value)
    return body.vector(value, results[-1].span) if isinstance(value, Literal) else value


def _locals(body: Evaluator, equations: Sequence[syntax.Equation]) -> list[str]:
    """The names that a body's equations set; each may be set once."""
    scope, report = body.scope, body.report
    first: dict[str, Span] = {}
    for equation in equations:
        for target in targets_of(equation.target):
            if not isinstance(target, syntax.Name):
                report.error(
                    "RNN113" if isinstance(target, syntax.Primed | syntax.Timed) else "RNN111",
                    f"`{target.span.text}` cannot be set in the body of an operator",
                    target.span,
                    hint="a body sets locals, `z = …`, and ends in its result; there is no time "
                    "in it and no prime",
                )
                continue
            name = target.name
            if name in first or name in scope.values:
                report.error(
                    "RNN205",
                    f"`{target.span.text}` is set twice",
                    target.span,
                    related=(Label(first[name], "first here"),) if name in first else (),
                    hint="a name stands for one value; use another name",
                )
                continue
            if name in scope.annotations:
                declared: Annotations = scope.annotations[name]
                body.assembly.parameters.declared_twice(target, declared.span)
            first[name] = target.span
    return list(first)


def set_local(evaluator: Evaluator, equation: syntax.Equation) -> None:
    """Evaluate an equation whose targets are locals; a mistake poisons them silently."""
    names = [t for t in targets_of(equation.target) if isinstance(t, syntax.Name)]
    try:
        value = evaluator.evaluate(equation.value)
        if equation.type is not None:
            value = annotated(evaluator, equation.type, value, equation)
        _assign(evaluator, equation.target, value, equation)
    except Stop:
        for name in names:
            evaluator.scope.values.setdefault(name.name, None)


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
    vector = evaluator.vector(value, equation.value.span)
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
        )


def _assign(
    evaluator: Evaluator, target: syntax.Expression, value: Value, equation: syntax.Equation
) -> None:
    if isinstance(target, syntax.Name):
        evaluator.scope.values[target.name] = value
        evaluator.assembly.locals.append((target.name, value, target.span))
        return
    if isinstance(target, syntax.Parentheses):
        for argument, part in zip(
            target.arguments, parts_of(evaluator, target, value, equation), strict=True
        ):
            _assign(evaluator, argument.value, part, equation)


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
        )
    return parts
