"""Recurrences that are affine in their own value become scans, proved by walking the cycle.

    h = f ⊙ h[t-1] + (1 - f) ⊙ u      -> h = linear(a, b, h[t-1]), a = f, b = (1 - f) ⊙ u outside

Side condition: the cycle reads one value alone at another time, one step away; on the way from
there back to that value only sums, differences, choices, and products and quotients with values
from outside of the cycle, all as wide as it. The order of the operations changes: rounding.
"""

from __future__ import annotations

from dataclasses import dataclass

from rnnc.compiler.ir.builder import Draft
from rnnc.compiler.ir.dataflow import Flow, Read


class _NotAffine(Exception):
    """The cycle is no affine recurrence."""


@dataclass(frozen=True, slots=True)
class _Form:
    """slope ⊙ v + offset; None is zero."""

    slope: Read | None
    offset: Read | None


def scan(flow: Flow) -> Flow:
    """The flow with affine cycles as `linear` values."""
    draft = Draft.of(flow)
    for component in flow.components:
        if component[0] not in flow.cyclic:
            continue
        found = _turning_point(flow, component)
        if found is None:
            continue
        try:
            form = _Walk(draft, flow, component, found).form()
        except _NotAffine:
            continue
        _replace(draft, found, form)
    return draft.finish()


def _turning_point(flow: Flow, component: tuple[int, ...]) -> Read | None:
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


class _Walk:
    """Finds the affine form of a value in terms of itself one step away."""

    def __init__(self, draft: Draft, flow: Flow, component: tuple[int, ...], turn: Read) -> None:
        self.draft, self.flow, self.turn = draft, flow, turn
        self.inside = set(component)
        self.shape = flow.values[turn.value].shape
        self.adjoint = flow.values[turn.value].adjoint
        self.known: dict[int, _Form] = {}
        self.one = draft.constant(1.0)

    def form(self) -> _Form:
        value = self.flow.values[self.turn.value]
        if value.operation == "state":
            return self.of(value.operands[0])
        return self._found(value.number)

    def make(self, operation: str, *operands: Read) -> Read:
        return self.draft.add(operation, *operands, adjoint=self.adjoint)

    def of(self, read: Read) -> _Form:
        if read == self.turn:
            return _Form(self.one, None)
        if read.value not in self.inside:
            return _Form(None, read)
        return self._found(read.value)

    def _found(self, root: int) -> _Form:
        """The form of a value, those of its operands first; cycles may be longer than the stack."""
        waiting = [] if root in self.known else [root]
        while waiting:
            value = self.flow.values[waiting[-1]]
            if value.shape != self.shape:
                raise _NotAffine
            missing = (
                read.value
                for read in value.operands
                if read != self.turn and read.value in self.inside and read.value not in self.known
            )
            first = next(missing, None)
            if first is not None:
                waiting.append(first)
                continue
            self.known[value.number] = self._computed(value.number)
            waiting.pop()
        return self.known[root]

    def _computed(self, number: int) -> _Form:
        value = self.flow.values[number]
        forms = [self.of(read) for read in value.operands]
        match value.operation:
            case "state":
                return forms[0]
            case "add":
                return _Form(
                    self._sum([f.slope for f in forms]), self._sum([f.offset for f in forms])
                )
            case "subtract":
                a, b = forms
                return _Form(
                    self._sum([a.slope, self._negated(b.slope)]),
                    self._sum([a.offset, self._negated(b.offset)]),
                )
            case "negate":
                return _Form(self._negated(forms[0].slope), self._negated(forms[0].offset))
            case "one_minus":
                one = self.draft.constant(1.0)
                rest = self._sum([one, self._negated(forms[0].offset)])
                return _Form(self._negated(forms[0].slope), rest)
            case "multiply":
                return self._multiplied(forms)
            case "divide" if forms[1].slope is None:
                divisor = forms[1].offset
                assert divisor is not None
                return _Form(
                    *(
                        None if part is None else self.make("divide", part, divisor)
                        for part in (forms[0].slope, forms[0].offset)
                    )
                )
            case "select" if forms[0].slope is None:
                return self._chosen(forms)
        raise _NotAffine

    def _multiplied(self, forms: list[_Form]) -> _Form:
        moving = [form for form in forms if form.slope is not None]
        if len(moving) != 1 or moving[0].slope is None:
            raise _NotAffine
        factors = [form.offset for form in forms if form.slope is None]
        given = [factor for factor in factors if factor is not None]
        slope, offset = moving[0].slope, moving[0].offset
        return _Form(
            self.make("multiply", *(given if slope == self.one and given else (slope, *given))),
            None if offset is None else self.make("multiply", offset, *given),
        )

    def _chosen(self, forms: list[_Form]) -> _Form:
        choice = forms[0].offset
        assert choice is not None
        zero = self.draft.constant(0.0)
        parts: list[Read | None] = []
        for pair in ((forms[1].slope, forms[2].slope), (forms[1].offset, forms[2].offset)):
            a, b = (zero if part is None else part for part in pair)
            parts.append(None if pair == (None, None) else self.make("select", choice, a, b))
        return _Form(parts[0], parts[1])

    def _sum(self, parts: list[Read | None]) -> Read | None:
        given = [part for part in parts if part is not None]
        if not given:
            return None
        return given[0] if len(given) == 1 else self.make("add", *given)

    def _negated(self, part: Read | None) -> Read | None:
        return None if part is None else self.make("negate", part)


def _replace(draft: Draft, turn: Read, form: _Form) -> None:
    slope = draft.constant(0.0) if form.slope is None else form.slope
    offset = draft.constant(0.0) if form.offset is None else form.offset
    value = draft.values[turn.value]
    if value.operation == "state":
        solved = draft.add("linear", slope, offset, turn, adjoint=value.adjoint)
        value.operands = (solved,)
    else:
        value.operation, value.attributes = "linear", ()
        value.operands = (slope, offset, turn)
