"""Recurrences that are affine in their own value become scans, proved by walking the cycle.

    h = f ⊙ h[t-1] + (1 - f) ⊙ u      -> h = linear(a, b, h[t-1]), a = f, b = (1 - f) ⊙ u outside

Side condition: the cycle reads one value alone at another time, one step away; on the way from
there back to that value only sums, differences, choices, and products and quotients with values
from outside of the cycle, all as wide as it. The order of the operations changes: rounding.
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
    """The flow with affine cycles as `linear` values."""
    draft = Builder.from_dataflow(dataflow)
    for component in dataflow.components:
        if component[0] not in dataflow.cyclic_values:
            continue
        found = _find_recurrence(dataflow, component)
        if found is None:
            continue
        try:
            form = _AffineAnalysis(draft, dataflow, component, found).analyze()
        except _NotAffine:
            continue
        _replace_with_linear(draft, found, form)
    return draft.build()


def _find_recurrence(flow: Dataflow, component: tuple[int, ...]) -> Operand | None:
    """The one read at another time inside of a cycle."""
    inside = set(component)
    reads = {
        read
        for number in component
        for read in flow.values[number].operands
        if read.value in inside and read.delay
    }
    if len(reads) != 1:
        return None
    read = reads.pop()
    already = any(flow.values[number].operation == "linear" for number in component)
    return None if abs(read.delay) != 1 or already else read


class _AffineAnalysis:
    """Finds the affine form of a value in terms of itself one step away."""

    def __init__(
        self, draft: Builder, flow: Dataflow, component: tuple[int, ...], turn: Operand
    ) -> None:
        self.builder, self.dataflow, self.recurrence = draft, flow, turn
        self.members = set(component)
        self.shape = flow.values[turn.value].shape
        self.adjoint = flow.values[turn.value].adjoint
        self.forms: dict[int, _AffineForm] = {}
        self.one = draft.constant(1.0)

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
        """The form of a value, those of its operands first; cycles may be longer than the stack."""
        waiting = [] if root in self.forms else [root]
        while waiting:
            value = self.dataflow.values[waiting[-1]]
            if value.shape != self.shape:
                raise _NotAffine
            missing = (
                read.value
                for read in value.operands
                if read != self.recurrence
                and read.value in self.members
                and read.value not in self.forms
            )
            first = next(missing, None)
            if first is not None:
                waiting.append(first)
                continue
            self.forms[value.id] = self._combine(value.id)
            waiting.pop()
        return self.forms[root]

    def _combine(self, number: int) -> _AffineForm:
        value = self.dataflow.values[number]
        forms = [self.form_of(read) for read in value.operands]
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
                rest = self._add([one, self._negate(forms[0].offset)])
                return _AffineForm(self._negate(forms[0].slope), rest)
            case "multiply":
                return self._multiply(forms)
            case "divide" if forms[1].slope is None:
                divisor = forms[1].offset
                assert divisor is not None
                return _AffineForm(
                    *(
                        None if part is None else self.create("divide", part, divisor)
                        for part in (forms[0].slope, forms[0].offset)
                    )
                )
            case "select" if forms[0].slope is None:
                return self._select(forms)
        raise _NotAffine

    def _multiply(self, forms: list[_AffineForm]) -> _AffineForm:
        moving = [form for form in forms if form.slope is not None]
        if len(moving) != 1 or moving[0].slope is None:
            raise _NotAffine
        factors = [form.offset for form in forms if form.slope is None]
        given = [factor for factor in factors if factor is not None]
        slope, offset = moving[0].slope, moving[0].offset
        return _AffineForm(
            self.create("multiply", *(given if slope == self.one and given else (slope, *given))),
            None if offset is None else self.create("multiply", offset, *given),
        )

    def _select(self, forms: list[_AffineForm]) -> _AffineForm:
        choice = forms[0].offset
        assert choice is not None
        zero = self.builder.constant(0.0)
        parts: list[Operand | None] = []
        for pair in ((forms[1].slope, forms[2].slope), (forms[1].offset, forms[2].offset)):
            a, b = (zero if part is None else part for part in pair)
            parts.append(None if pair == (None, None) else self.create("select", choice, a, b))
        return _AffineForm(parts[0], parts[1])

    def _add(self, parts: list[Operand | None]) -> Operand | None:
        given = [part for part in parts if part is not None]
        if not given:
            return None
        return given[0] if len(given) == 1 else self.create("add", *given)

    def _negate(self, part: Operand | None) -> Operand | None:
        return None if part is None else self.create("negate", part)


def _replace_with_linear(draft: Builder, turn: Operand, form: _AffineForm) -> None:
    slope = draft.constant(0.0) if form.slope is None else form.slope
    offset = draft.constant(0.0) if form.offset is None else form.offset
    value = draft.values[turn.value]
    if value.operation == "state":
        solved = draft.create("linear", slope, offset, turn, adjoint=value.adjoint)
        value.operands = (solved,)
    else:
        value.operation, value.attributes = "linear", ()
        value.operands = (slope, offset, turn)
