"""Recognize scans: turn recurrences that are affine in their own value into `linear` values.

    h = f ⊙ h[t-1] + (1 - f) ⊙ u      -> h = linear(a, b, h[t-1]), a = f, b = (1 - f) ⊙ u outside

A walk over the cycle proves that its value is a ⊙ v + b of itself one step away. Condition: one
delayed use in the cycle, at one step; in between only sums, differences, selects, and products and
quotients with values from outside, all of one width. Changes the order of operations, and so
rounding. (Scans of affine recurrences: Blelloch 1990.)
"""

from __future__ import annotations

from dataclasses import dataclass

from rnnc.compiler.ir.builder import Builder
from rnnc.compiler.ir.dataflow import Dataflow, Operand


class _NotAffine(Exception):
    """The cycle is no affine recurrence."""


@dataclass(frozen=True, slots=True)
class _AffineForm:
    """slope ⊙ v + offset; None is zero."""

    slope: Operand | None
    offset: Operand | None


def recognize_scans(dataflow: Dataflow) -> Dataflow:
    """Replace affine cycles by `linear` values."""
    builder = Builder.from_dataflow(dataflow)
    for component in dataflow.components:
        if component[0] not in dataflow.cyclic_values:
            continue
        recurrence = _find_recurrence(dataflow, component)
        if recurrence is None:
            continue
        try:
            form = _AffineAnalysis(builder, dataflow, component, recurrence).analyze()
        except _NotAffine:
            continue
        _replace_with_linear(builder, recurrence, form)
    return builder.build()


def _find_recurrence(dataflow: Dataflow, component: tuple[int, ...]) -> Operand | None:
    """Return the only delayed operand inside of a cycle, if it is one step away."""
    members = set(component)
    delayed = {
        operand
        for value_id in component
        for operand in dataflow.values[value_id].operands
        if operand.value in members and operand.delay
    }
    if len(delayed) != 1:
        return None
    operand = delayed.pop()
    is_scan = any(dataflow.values[value_id].operation == "linear" for value_id in component)
    return None if abs(operand.delay) != 1 or is_scan else operand


class _AffineAnalysis:
    """The affine forms of a cycle's values in terms of the recurrence v, one step away."""

    def __init__(
        self,
        builder: Builder,
        dataflow: Dataflow,
        component: tuple[int, ...],
        recurrence: Operand,
    ) -> None:
        self.builder, self.dataflow, self.recurrence = builder, dataflow, recurrence
        self.members = set(component)
        self.shape = dataflow.values[recurrence.value].shape
        self.adjoint = dataflow.values[recurrence.value].adjoint
        self.forms: dict[int, _AffineForm] = {}
        self.one = builder.constant(1.0)

    def analyze(self) -> _AffineForm:
        value = self.dataflow.values[self.recurrence.value]
        if value.operation == "state":
            return self.form_of(value.operands[0])
        return self._visit(value.id)

    def create(self, operation: str, *operands: Operand) -> Operand:
        return self.builder.create(operation, *operands, adjoint=self.adjoint)

    def form_of(self, operand: Operand) -> _AffineForm:
        if operand == self.recurrence:
            return _AffineForm(self.one, None)
        if operand.value not in self.members:
            return _AffineForm(None, operand)
        return self._visit(operand.value)

    def _visit(self, root: int) -> _AffineForm:
        # An explicit stack: a cycle may be longer than Python's recursion limit.
        stack = [] if root in self.forms else [root]
        while stack:
            value = self.dataflow.values[stack[-1]]
            if value.shape != self.shape:
                raise _NotAffine
            unvisited = (
                operand.value
                for operand in value.operands
                if operand != self.recurrence
                and operand.value in self.members
                and operand.value not in self.forms
            )
            operand_id = next(unvisited, None)
            if operand_id is not None:
                stack.append(operand_id)
                continue
            self.forms[value.id] = self._combine(value.id)
            stack.pop()
        return self.forms[root]

    def _combine(self, value_id: int) -> _AffineForm:
        value = self.dataflow.values[value_id]
        forms = [self.form_of(operand) for operand in value.operands]
        match value.operation:
            case "state":
                return forms[0]
            case "add":
                return _AffineForm(
                    self._add([f.slope for f in forms]), self._add([f.offset for f in forms])
                )
            case "subtract":
                a, b = forms
                return _AffineForm(
                    self._add([a.slope, self._negate(b.slope)]),
                    self._add([a.offset, self._negate(b.offset)]),
                )
            case "negate":
                return _AffineForm(self._negate(forms[0].slope), self._negate(forms[0].offset))
            case "one_minus":
                one = self.builder.constant(1.0)
                offset = self._add([one, self._negate(forms[0].offset)])
                return _AffineForm(self._negate(forms[0].slope), offset)
            case "multiply":
                return self._multiply(forms)
            case "divide" if forms[1].slope is None:
                divisor = forms[1].offset
                assert divisor is not None
                return _AffineForm(
                    *(
                        None if dividend is None else self.create("divide", dividend, divisor)
                        for dividend in (forms[0].slope, forms[0].offset)
                    )
                )
            case "select" if forms[0].slope is None:
                return self._select(forms)
        raise _NotAffine

    def _multiply(self, forms: list[_AffineForm]) -> _AffineForm:
        varying = [form for form in forms if form.slope is not None]
        if len(varying) != 1 or varying[0].slope is None:
            raise _NotAffine
        factors = [form.offset for form in forms if form.slope is None and form.offset is not None]
        slope, offset = varying[0].slope, varying[0].offset
        slope_factors = factors if slope == self.one and factors else (slope, *factors)
        return _AffineForm(
            self.create("multiply", *slope_factors),
            None if offset is None else self.create("multiply", offset, *factors),
        )

    def _select(self, forms: list[_AffineForm]) -> _AffineForm:
        condition = forms[0].offset
        assert condition is not None
        zero = self.builder.constant(0.0)
        selected: list[Operand | None] = []
        for pair in ((forms[1].slope, forms[2].slope), (forms[1].offset, forms[2].offset)):
            a, b = (zero if branch is None else branch for branch in pair)
            is_zero = pair == (None, None)
            selected.append(None if is_zero else self.create("select", condition, a, b))
        return _AffineForm(selected[0], selected[1])

    def _add(self, terms: list[Operand | None]) -> Operand | None:
        nonzero = [term for term in terms if term is not None]
        if not nonzero:
            return None
        return nonzero[0] if len(nonzero) == 1 else self.create("add", *nonzero)

    def _negate(self, term: Operand | None) -> Operand | None:
        return None if term is None else self.create("negate", term)


def _replace_with_linear(builder: Builder, recurrence: Operand, form: _AffineForm) -> None:
    slope = builder.constant(0.0) if form.slope is None else form.slope
    offset = builder.constant(0.0) if form.offset is None else form.offset
    value = builder.values[recurrence.value]
    if value.operation == "state":
        scan = builder.create("linear", slope, offset, recurrence, adjoint=value.adjoint)
        value.operands = (scan,)
    else:
        value.operation, value.attributes = "linear", ()
        value.operands = (slope, offset, recurrence)
