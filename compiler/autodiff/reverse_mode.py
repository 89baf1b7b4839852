"""Flow -> the same flow with its reverse-mode derivative, in the same vocabulary.

Where v reads u with delay d, the gradient of u at t gains J(t+d)ᵀ g(v)[t+d]: an edge of delay −d,
cut at the same ends of segments. What reads outside of its segment passes its gain to the history
or to the initial value. Gains of parameters are summed over steps and rows.
"""

from __future__ import annotations

from collections.abc import Sequence

from rnnc.compiler.ir.builder import Draft
from rnnc.compiler.ir.dataflow import Flow, Gradient, Read
from rnnc.compiler.ir.ops import SOURCES
from rnnc.compiler.request import Request
from rnnc.operators.graph.operator_graph import Attribute

from .vjp_rules import CONSTANT, RULES


def differentiate(flow: Flow, request: Request) -> Flow:
    """The flow with adjoint values for every gradient that is asked for.

    Gradients that nothing depends on have the value −1.
    """
    return _Adjoint(flow, request).built()


class _Adjoint:
    """The adjoint while it is built; the `Maker` that the rules write to."""

    def __init__(self, flow: Flow, request: Request) -> None:
        self.flow, self.request = flow, request
        self.draft = Draft.of(flow)
        self.draft.adjoint = True
        self.needed = _active(flow, request) & _reached(flow, request)
        self.gains: dict[int, list[Read]] = {}
        self.late: dict[int, list[Read]] = {}
        self.unmixed: dict[int, list[Read]] = {}
        self.made: dict[object, Read] = {}

    def built(self) -> Flow:
        draft = self.draft
        heads = {
            number: draft.source("add", (), draft.values[number].shape, draft.values[number].rate)
            for number in sorted(self.needed)
        }
        self._seed()
        for value in self.flow.values:
            if value.number not in self.needed or value.operation in SOURCES:
                continue
            rule = RULES[value.operation]
            result = Read(value.number)
            gains = rule(self, result, value.operands, heads[value.number], value.attributes)
            for operand, gain in zip(value.operands, gains, strict=True):
                if gain is not None and operand.value in self.needed:
                    self._gain(operand, gain)
        for number, head in heads.items():
            draft.values[head.value].operands = tuple(self.gains[number])
        draft.gradients = [
            self._gradient(kind, name, heads) for kind, name in self.request.gradients
        ]
        return draft.finish()

    def make(self, operation: str, *operands: Read, attributes: tuple[Attribute, ...] = ()) -> Read:
        """A value of the adjoint; the same one for the same operation."""
        if operation == "negate" and self.draft.values[operands[0].value].operation == "negate":
            inner = self.draft.values[operands[0].value].operands[0]
            return Read(inner.value, inner.delay + operands[0].delay)
        key = (operation, operands, attributes)
        if key not in self.made:
            self.made[key] = self.draft.add(operation, *operands, attributes=attributes)
        return self.made[key]

    def number(self, value: float) -> Read:
        """A constant."""
        key = ("constant", value)
        if key not in self.made:
            self.made[key] = self.draft.constant(value)
        return self.made[key]

    def width(self, value: Read) -> int:
        """The width of a vector."""
        return self.draft.width(value)

    def shape(self, value: Read) -> tuple[int, ...]:
        """The shape of a vector or matrix."""
        return self.draft.values[value.value].shape

    def ahead(self, value: Read, steps: int) -> Read:
        """The value so many steps later; itself where it is the same at all steps."""
        if self.draft.kind(value)[1] != "step":
            return value
        # What a reader sees at another time is its own: it may lie outside of its segment.
        own = self.make("add", value) if value.delay else value
        return Read(own.value, -steps)

    def _seed(self) -> None:
        draft, request = self.draft, self.request
        for output, read in zip(self.flow.graph.outputs, self.flow.outputs, strict=True):
            if ("output", output.name) in request.seeds and read.value in self.needed:
                seed = draft.source("seed", ("output", output.name), draft.kind(read)[0], "step")
                self._gain(read, seed)
        for kind, reads in (("law", self.flow.laws), ("kept", self.flow.kept)):
            for index, read in enumerate(reads):
                if (kind, str(index)) in request.seeds and read.value in self.needed:
                    shape = draft.kind(read)[0]
                    self._gain(read, draft.source("seed", (kind, str(index)), shape, "step"))
        for number, name in _bounded(self.flow).items():
            if ("history", name) in request.seeds and number in self.needed:
                shape = draft.values[number].shape
                seed = draft.source("seed", ("history", name), shape, "step")
                self.gains.setdefault(number, []).append(seed)
                self.late.setdefault(number, []).append(seed)

    def _gain(self, operand: Read, gain: Read) -> None:
        shape, rate = self.draft.kind(operand)
        if self.draft.values[gain.value].operation == "unmix":
            # What rows of a window gain stands at their own step already.
            self.gains.setdefault(operand.value, []).append(gain)
            self.unmixed.setdefault(operand.value, []).append(gain)
            return
        if rate == "call" and self.draft.kind(gain)[1] != "call":
            gain = self.make("total", gain)
        if shape == (1,) and self.draft.width(gain) > 1:
            gain = self.make("group_sum", gain, attributes=(self.draft.width(gain),))
        self.gains.setdefault(operand.value, []).append(
            Read(gain.value, gain.delay - operand.delay)
        )
        if operand.delay:
            self.late.setdefault(operand.value, []).append(Read(gain.value, -operand.delay))

    def _gradient(self, kind: str, name: str, heads: dict[int, Read]) -> Gradient:
        number = _number(self.flow, kind, name)
        if number is None or number not in self.needed:
            return Gradient(kind, name, -1)  # type: ignore[arg-type]
        if kind in {"parameter", "input"}:
            return Gradient(kind, name, heads[number].value)  # type: ignore[arg-type]
        late = list(self.late.get(number, []))
        if kind == "history":
            late += [self._before(unmixed, name) for unmixed in self.unmixed.get(number, [])]
        if not late:
            return Gradient(kind, name, -1)  # type: ignore[arg-type]
        made = self.draft.add(f"to_{kind}", *late, attributes=(name,))
        return Gradient(kind, name, made.value)  # type: ignore[arg-type]

    def _before(self, unmixed: Read, name: str) -> Read:
        """What an `unmix` gives to the steps before the first one."""
        value = self.draft.values[unmixed.value]
        return self.make("unmix_history", *value.operands, attributes=(name, *value.attributes))


def _bounded(flow: Flow) -> dict[int, str]:
    """States and inputs: their values' numbers and their names."""
    return {
        v.number: str(v.attributes[0]) for v in flow.values if v.operation in {"state", "input"}
    }


def _number(flow: Flow, kind: str, name: str) -> int | None:
    operations = {"parameter": ["parameter"], "input": ["input"], "initial": ["state"]}
    wanted = operations.get(kind, ["state", "input"])
    found = [flow.numbers[key] for o in wanted if (key := (o, name)) in flow.numbers]
    return min(found, default=None)


def _lets_through(flow: Flow, number: int) -> Sequence[int]:
    """The operands that a value's gradient flows on to."""
    value = flow.values[number]
    operands = [read.value for read in value.operands]
    if value.operation in CONSTANT:
        return ()
    if value.operation == "select":
        return operands[1:]
    if value.operation == "log_mix":
        return operands[2:3]
    return operands[:1] if value.operation == "lookup" else operands


def _active(flow: Flow, request: Request) -> set[int]:
    """The values that depend on something whose gradient is wanted."""
    found = {_number(flow, kind, name) for kind, name in request.gradients}
    active = {number for number in found if number is not None}
    readers: dict[int, list[int]] = {}
    for value in flow.values:
        for number in _lets_through(flow, value.number):
            readers.setdefault(number, []).append(value.number)
    waiting = list(active)
    while waiting:
        for reader in readers.get(waiting.pop(), []):
            if reader not in active:
                active.add(reader)
                waiting.append(reader)
    return active


def _reached(flow: Flow, request: Request) -> set[int]:
    """The values on which something depends that has a gradient coming in."""
    roots = [
        read.value
        for output, read in zip(flow.graph.outputs, flow.outputs, strict=True)
        if ("output", output.name) in request.seeds
    ]
    for kind, reads in (("law", flow.laws), ("kept", flow.kept)):
        roots += [r.value for i, r in enumerate(reads) if (kind, str(i)) in request.seeds]
    roots += [n for n, name in _bounded(flow).items() if ("history", name) in request.seeds]
    reached: set[int] = set()
    while roots:
        number = roots.pop()
        if number not in reached:
            reached.add(number)
            roots += _lets_through(flow, number)
    return reached
