"""Add values to the graph within one scope: errors, conversions, unification of sizes."""

from __future__ import annotations

from typing import NoReturn

from rnnc.grammar.diagnostics.diagnostic import Label
from rnnc.grammar.source import Span
from rnnc.grammar.symbols import display_name
from rnnc.operators.elaborate.context.graph_builder import GraphBuilder
from rnnc.operators.elaborate.context.parameters import UnsizedParameter
from rnnc.operators.elaborate.context.scope import Scope
from rnnc.operators.elaborate.context.size_inference import Dim, SizeConflictError
from rnnc.operators.elaborate.context.values import (
    ElaborationError,
    Literal,
    Matrix,
    SymbolVector,
    TupleValue,
    Value,
    Vector,
    Window,
)
from rnnc.operators.graph.operator_graph import Attribute, Operand
from rnnc.operators.graph.user_spans import user_span


class ScopedBuilder:
    """Builder of one scope's values, and base of name resolution and evaluation."""

    def __init__(self, builder: GraphBuilder, scope: Scope) -> None:
        self.builder, self.scope = builder, scope
        self.report, self.sizes = builder.report, builder.sizes

    def fail(
        self,
        code: str,
        message: str,
        span: Span,
        label: str = "",
        *,
        hint: str = "",
        related: tuple[Label, ...] = (),
    ) -> NoReturn:
        """Report an error at the user's own span and abandon the expression."""
        shown_span = user_span(span, self.scope.application, self.builder.applications)
        if shown_span is not span:
            related = (Label(span, label or "in the library"), *related)
            label = "used here"
        self.report.error(code, message, shown_span, label, hint=hint, related=related)
        raise ElaborationError

    def add_vector(
        self,
        operation: str,
        operands: tuple[Operand, ...],
        size: Dim,
        span: Span,
        attributes: tuple[Attribute, ...] = (),
        *,
        deduplicate: bool = True,
    ) -> Vector:
        """Add a node of this scope and return its value."""
        application = self.scope.application
        operand = self.builder.add_node(
            operation,
            operands,
            size,
            span,
            attributes,
            application=application,
            deduplicate=deduplicate,
        )
        return Vector(operand, self.builder.nodes[operand.node].size if deduplicate else size)

    def parameter_operand(self, parameter: UnsizedParameter, span: Span) -> Operand:
        """Return the value of a parameter, whose node is added at its first use."""
        if parameter.node < 0:
            operand = self.builder.add_node(
                "parameter",
                (),
                parameter.rows,
                span,
                (parameter.path,),
                application=parameter.application,
            )
            parameter.node = operand.node
        return Operand(parameter.node)

    def to_vector(self, value: Value, span: Span) -> Vector:
        """Convert a value to a real vector with 0 in missing entries, or fail."""
        vector = self.to_masked_vector(value, span)
        if vector.mask is None:
            return vector
        if self.builder.nodes[vector.operand.node].operation in {"scores", "matches"}:
            return Vector(vector.operand, vector.size)  # already 0 in missing rows
        return self.add_vector("multiply", (vector.operand, vector.mask), vector.size, span)

    def to_masked_vector(self, value: Value, span: Span) -> Vector:
        """Convert a value to a real vector that may have missing entries, or fail."""
        match value:
            case Vector():
                return value
            case Literal(number):
                return self.add_vector(
                    "constant", (), self.sizes.constant(1), span, (float(number),)
                )
            case Matrix(parameter) if parameter.form == "diagonal":
                return Vector(self.parameter_operand(parameter, span), parameter.rows)
            case Matrix():
                self.fail(
                    "RNN305",
                    f"`{span.text}` is a matrix where a vector belongs",
                    span,
                    hint=f"multiply it: `{span.text} h`; or declare `param {span.text}: vector`",
                )
            case Window():
                self.fail(
                    "RNN305",
                    f"`{span.text}` is a matrix with one row a step, where a vector belongs",
                    span,
                    hint=f"name it, `M = {span.text}`, and multiply it: `M q` has one entry a row, "
                    "`Mᵀ a` is a sum of rows",
                )
            case SymbolVector(name=name):
                self.fail(
                    "RNN306",
                    f"`{name}` is a symbol and cannot be computed with",
                    span,
                    hint=f"look it up in a matrix: `E {name}`",
                )
            case TupleValue(parts):
                self.fail(
                    "RNN307",
                    f"a tuple of {len(parts)} where one vector belongs",
                    span,
                    hint="take it apart: `(a, b) = …`",
                )

    def broadcast_size(self, x: Vector, y: Vector, left: Span, right: Span) -> Dim:
        """Return the size of an elementwise result; a number broadcasts to any vector."""
        if self.sizes.value(x.size) == 1:
            return y.size
        if self.sizes.value(y.size) != 1:
            self.unify(x.size, y.size, left.to(right), left, right)
        return x.size

    def unify(
        self,
        expected: Dim,
        actual: Dim,
        span: Span,
        a: Span,
        b: Span,
        parameter: UnsizedParameter | None = None,
    ) -> None:
        """Make two sizes equal, or fail with both sizes and their origins."""
        try:
            self.sizes.unify(expected, actual)
        except SizeConflictError as conflict:
            application = self.scope.application
            if parameter is not None and parameter.application not in {application, -1}:
                self.report_shape_conflict(
                    parameter.application, application, conflict, parameter.name
                )
            related = tuple(
                Label(origin.span, origin.text) for origin in conflict.origins if origin
            )
            message = f"`{a.text}` is {conflict.left} wide and `{b.text}` {conflict.right}"
            if parameter is not None:
                message = (
                    f"`{a.text}` takes a vector of {conflict.left}, and `{b.text}` has "
                    f"{conflict.right}"
                )
            self.fail("RNN301", message, span, hint=_sizes_hint(a, b, parameter), related=related)

    def report_shape_conflict(
        self, first: int, second: int, conflict: SizeConflictError, parameter_name: str
    ) -> NoReturn:
        """Report one operator at two shapes, at the second use."""
        applications = self.builder.applications
        second_use, first_use = applications[second], applications[first]
        if second_use.span in self.builder.reported_shape_conflicts:
            raise ElaborationError
        self.builder.reported_shape_conflicts.add(second_use.span)
        name = display_name(second_use.name)
        self.fail(
            "RNN302",
            f"`{name}` is used at two shapes: `{parameter_name}` would be {conflict.left} and "
            f"{conflict.right} wide",
            second_use.span,
            "second use",
            related=(Label(first_use.span, "first use"),),
            hint=f"uses of one operator share their parameters; make them two, such as `{name}₁` "
            f"and `{name}₂`"
            if name in "⊕⊗⊖⊛⊞⊠▷◁△▽"
            else f"uses of one operator share their parameters; define another one besides "
            f"`{name}`",
        )


def _sizes_hint(a: Span, b: Span, parameter: UnsizedParameter | None) -> str:
    if parameter is None:
        return (
            f"only vectors of one size go together; a matrix changes a size: `W {_parenthesize(b)}`"
        )
    return (
        f"within one operator, or one model's equations, `{parameter.name}` is one parameter; "
        "where sizes differ give each use a name of its own"
    )


def _parenthesize(span: Span) -> str:
    text = span.text
    return text if text.replace("'", "").isidentifier() else f"({text})"
