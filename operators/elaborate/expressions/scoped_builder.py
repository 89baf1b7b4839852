"""The ground of evaluation: errors, new values, and the agreement of sizes."""

from __future__ import annotations

from typing import NoReturn

from rnnc.grammar.diagnostics.diagnostic import Label
from rnnc.grammar.diagnostics.suggestions import shown
from rnnc.grammar.source import Span
from rnnc.operators.elaborate.context.graph_builder import Assembly
from rnnc.operators.elaborate.context.parameters import Draft
from rnnc.operators.elaborate.context.scope import Scope
from rnnc.operators.elaborate.context.size_inference import Conflict, Dim
from rnnc.operators.elaborate.context.values import (
    Literal,
    Matrix,
    Stop,
    SymbolVector,
    TupleValue,
    Value,
    Vector,
    Window,
)
from rnnc.operators.graph.operator_graph import Attribute, Operand
from rnnc.operators.graph.user_spans import own_place


class Shapes:
    """One scope of a growing graph: adds values to it and makes sizes agree."""

    def __init__(self, assembly: Assembly, scope: Scope) -> None:
        self.assembly, self.scope = assembly, scope
        self.report, self.sizes = assembly.report, assembly.sizes

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
        """Report an error and give the expression up."""
        place = own_place(span, self.scope.application, self.assembly.applications)
        if place is not span:
            related = (Label(span, label or "in the library"), *related)
            label = "used here"
        self.report.error(code, message, place, label, hint=hint, related=related)
        raise Stop

    def add(
        self,
        operation: str,
        operands: tuple[Operand, ...],
        size: Dim,
        span: Span,
        attributes: tuple[Attribute, ...] = (),
        *,
        shared: bool = True,
    ) -> Vector:
        """A new value of this scope."""
        application = self.scope.application
        operand = self.assembly.add(
            operation, operands, size, span, attributes, application=application, shared=shared
        )
        return Vector(operand, self.assembly.nodes[operand.node].size if shared else size)

    def parameter_node(self, draft: Draft, span: Span) -> Operand:
        """The node that stands for a parameter."""
        if draft.node < 0:
            operand = self.assembly.add(
                "parameter", (), draft.rows, span, (draft.path,), application=draft.application
            )
            draft.node = operand.node
        return Operand(draft.node)

    def vector(self, value: Value, span: Span) -> Vector:
        """A value as a real vector without gaps, or an error that says what it is instead."""
        vector = self.partial(value, span)
        if vector.present is None:
            return vector
        if self.assembly.nodes[vector.operand.node].operation in {"scores", "matches"}:
            return Vector(vector.operand, vector.size)  # 0 already, where there is no row
        return self.add("multiply", (vector.operand, vector.present), vector.size, span)

    def partial(self, value: Value, span: Span) -> Vector:
        """A value as a real vector, entries of which may be missing."""
        match value:
            case Vector():
                return value
            case Literal(number):
                return self.add("constant", (), self.sizes.known(1), span, (float(number),))
            case Matrix(draft) if draft.form == "diagonal":
                return Vector(self.parameter_node(draft, span), draft.rows)
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

    def broadcast(self, x: Vector, y: Vector, left: Span, right: Span) -> Dim:
        """The width of an elementwise result: numbers go with every vector."""
        if self.sizes.value(x.size) == 1:
            return y.size
        if self.sizes.value(y.size) != 1:
            self.agree(x.size, y.size, left.to(right), left, right)
        return x.size

    def agree(
        self, wanted: Dim, given: Dim, span: Span, a: Span, b: Span, draft: Draft | None = None
    ) -> None:
        """Make two sizes equal; where they cannot be, say which side is how wide and why."""
        try:
            self.sizes.unify(wanted, given)
        except Conflict as conflict:
            here = self.scope.application
            if draft is not None and draft.application not in {here, -1}:
                self.two_shapes(draft.application, here, conflict, draft.name)
            related = tuple(
                Label(origin.span, origin.text) for origin in conflict.origins if origin
            )
            message = f"`{a.text}` is {conflict.left} wide and `{b.text}` {conflict.right}"
            if draft is not None:
                message = (
                    f"`{a.text}` takes a vector of {conflict.left}, and `{b.text}` has "
                    f"{conflict.right}"
                )
            self.fail("RNN301", message, span, hint=_sizes_hint(a, b, draft), related=related)

    def two_shapes(self, first: int, second: int, conflict: Conflict, what: str) -> NoReturn:
        """Report one operator at two shapes, at the second use."""
        applications = self.assembly.applications
        now, before = applications[second], applications[first]
        if now.span in self.assembly.two_shaped:
            raise Stop
        self.assembly.two_shaped.add(now.span)
        name = shown(now.name)
        self.fail(
            "RNN302",
            f"`{name}` is used at two shapes: `{what}` would be {conflict.left} and "
            f"{conflict.right} wide",
            now.span,
            "second use",
            related=(Label(before.span, "first use"),),
            hint=f"uses of one operator share their parameters; make them two, such as `{name}₁` "
            f"and `{name}₂`"
            if name in "⊕⊗⊖⊛⊞⊠▷◁△▽"
            else f"uses of one operator share their parameters; define another one besides "
            f"`{name}`",
        )


def _sizes_hint(a: Span, b: Span, draft: Draft | None) -> str:
    if draft is None:
        return f"only vectors of one size go together; a matrix changes a size: `W {_item(b)}`"
    return (
        f"within one operator, or one model's equations, `{draft.name}` is one parameter; where "
        "sizes differ give each use a name of its own"
    )


def _item(span: Span) -> str:
    text = span.text
    return text if text.replace("'", "").isidentifier() else f"({text})"
