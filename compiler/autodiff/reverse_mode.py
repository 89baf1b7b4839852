"""Flow -> the same flow with its reverse-mode derivative, in the same vocabulary.

Where v reads u with delay d, the gradient of u at t gains J(t+d)ᵀ g(v)[t+d]: an edge of delay −d,
cut at the same ends of segments. What reads outside of its segment passes its gain to the history
or to the initial value. Gains of parameters are summed over steps and rows.
"""

from __future__ import annotations

from collections.abc import Sequence

from rnnc.compiler.ir.builder import Builder
from rnnc.compiler.ir.dataflow import Dataflow, Gradient, Operand
from rnnc.compiler.ir.ops import SOURCE_OPS
from rnnc.compiler.request import PlanRequest
from rnnc.operators.graph.operator_graph import Attribute

from .vjp_rules import NON_DIFFERENTIABLE_OPS, VJP_RULES


def differentiate(dataflow: Dataflow, request: PlanRequest) -> Dataflow:
    """The flow with adjoint values for every gradient that is asked for.

    Gradients that nothing depends on have the value −1.
    """
    return _ReverseMode(dataflow, request).build()


class _ReverseMode:
    """The adjoint while it is built; the `Maker` that the rules write to."""

    def __init__(self, flow: Dataflow, request: PlanRequest) -> None:
        self.dataflow, self.request = flow, request
        self.builder = Builder.from_dataflow(flow)
        self.builder.adjoint = True
        self.active = _varied_values(flow, request) & _useful_values(flow, request)
        self.cotangents: dict[int, list[Operand]] = {}
        self.boundary_cotangents: dict[int, list[Operand]] = {}
        self.window_cotangents: dict[int, list[Operand]] = {}
        self.memo: dict[object, Operand] = {}

    def build(self) -> Dataflow:
        draft = self.builder
        heads = {
            number: draft.create_source(
                "add", (), draft.values[number].shape, draft.values[number].rate
            )
            for number in sorted(self.active)
        }
        self._add_output_cotangents()
        for value in self.dataflow.values:
            if value.id not in self.active or value.operation in SOURCE_OPS:
                continue
            rule = VJP_RULES[value.operation]
            result = Operand(value.id)
            gains = rule(self, result, value.operands, heads[value.id], value.attributes)
            for operand, gain in zip(value.operands, gains, strict=True):
                if gain is not None and operand.value in self.active:
                    self._accumulate(operand, gain)
        for number, head in heads.items():
            draft.values[head.value].operands = tuple(self.cotangents[number])
        draft.gradients = [
            self._create_gradient(kind, name, heads) for kind, name in self.request.gradients
        ]
        return draft.build()

    def create(
        self, operation: str, *operands: Operand, attributes: tuple[Attribute, ...] = ()
    ) -> Operand:
        """A value of the adjoint; the same one for the same operation."""
        if operation == "negate" and self.builder.values[operands[0].value].operation == "negate":
            inner = self.builder.values[operands[0].value].operands[0]
            return Operand(inner.value, inner.delay + operands[0].delay)
        key = (operation, operands, attributes)
        if key not in self.memo:
            self.memo[key] = self.builder.create(operation, *operands, attributes=attributes)
        return self.memo[key]

    def constant(self, value: float) -> Operand:
        """A constant."""
        key = ("constant", value)
        if key not in self.memo:
            self.memo[key] = self.builder.constant(value)
        return self.memo[key]

    def width(self, value: Operand) -> int:
        """The width of a vector."""
        return self.builder.width(value)

    def shape(self, value: Operand) -> tuple[int, ...]:
        """The shape of a vector or matrix."""
        return self.builder.values[value.value].shape

    def shift(self, value: Operand, steps: int) -> Operand:
        """The value so many steps later; itself where it is the same at all steps."""
        if self.builder.type_of(value)[1] != "step":
            return value
        # What a reader sees at another time is its own: it may lie outside of its segment.
        own = self.create("add", value) if value.delay else value
        return Operand(own.value, -steps)

    def _add_output_cotangents(self) -> None:
        draft, request = self.builder, self.request
        for output, read in zip(self.dataflow.graph.outputs, self.dataflow.outputs, strict=True):
            if ("output", output.name) in request.cotangents and read.value in self.active:
                seed = draft.create_source(
                    "seed", ("output", output.name), draft.type_of(read)[0], "step"
                )
                self._accumulate(read, seed)
        for kind, reads in (("law", self.dataflow.laws), ("kept", self.dataflow.loss_inputs)):
            for index, read in enumerate(reads):
                if (kind, str(index)) in request.cotangents and read.value in self.active:
                    shape = draft.type_of(read)[0]
                    self._accumulate(
                        read, draft.create_source("seed", (kind, str(index)), shape, "step")
                    )
        for number, name in _states_and_inputs(self.dataflow).items():
            if ("history", name) in request.cotangents and number in self.active:
                shape = draft.values[number].shape
                seed = draft.create_source("seed", ("history", name), shape, "step")
                self.cotangents.setdefault(number, []).append(seed)
                self.boundary_cotangents.setdefault(number, []).append(seed)

    def _accumulate(self, operand: Operand, cotangent: Operand) -> None:
        shape, rate = self.builder.type_of(operand)
        if self.builder.values[cotangent.value].operation == "unmix":
            # What rows of a window gain stands at their own step already.
            self.cotangents.setdefault(operand.value, []).append(cotangent)
            self.window_cotangents.setdefault(operand.value, []).append(cotangent)
            return
        if rate == "call" and self.builder.type_of(cotangent)[1] != "call":
            cotangent = self.create("total", cotangent)
        if shape == (1,) and self.builder.width(cotangent) > 1:
            cotangent = self.create(
                "group_sum", cotangent, attributes=(self.builder.width(cotangent),)
            )
        self.cotangents.setdefault(operand.value, []).append(
            Operand(cotangent.value, cotangent.delay - operand.delay)
        )
        if operand.delay:
            self.boundary_cotangents.setdefault(operand.value, []).append(
                Operand(cotangent.value, -operand.delay)
            )

    def _create_gradient(self, kind: str, name: str, heads: dict[int, Operand]) -> Gradient:
        number = _find_value(self.dataflow, kind, name)
        if number is None or number not in self.active:
            return Gradient(kind, name, -1)  # type: ignore[arg-type]
        if kind in {"parameter", "input"}:
            return Gradient(kind, name, heads[number].value)  # type: ignore[arg-type]
        late = list(self.boundary_cotangents.get(number, []))
        if kind == "history":
            late += [
                self._window_carry_cotangent(unmixed, name)
                for unmixed in self.window_cotangents.get(number, [])
            ]
        if not late:
            return Gradient(kind, name, -1)  # type: ignore[arg-type]
        made = self.builder.create(f"to_{kind}", *late, attributes=(name,))
        return Gradient(kind, name, made.value)  # type: ignore[arg-type]

    def _window_carry_cotangent(self, cotangent: Operand, name: str) -> Operand:
        """What an `unmix` gives to the steps before the first one."""
        value = self.builder.values[cotangent.value]
        return self.create("unmix_history", *value.operands, attributes=(name, *value.attributes))


def _states_and_inputs(flow: Dataflow) -> dict[int, str]:
    """States and inputs: their values' numbers and their names."""
    return {v.id: str(v.attributes[0]) for v in flow.values if v.operation in {"state", "input"}}


def _find_value(flow: Dataflow, kind: str, name: str) -> int | None:
    operations = {"parameter": ["parameter"], "input": ["input"], "initial": ["state"]}
    wanted = operations.get(kind, ["state", "input"])
    found = [flow.ids_by_name[key] for o in wanted if (key := (o, name)) in flow.ids_by_name]
    return min(found, default=None)


def _differentiable_operands(flow: Dataflow, number: int) -> Sequence[int]:
    """The operands that a value's gradient flows on to."""
    value = flow.values[number]
    operands = [read.value for read in value.operands]
    if value.operation in NON_DIFFERENTIABLE_OPS:
        return ()
    if value.operation == "select":
        return operands[1:]
    if value.operation == "log_mix":
        return operands[2:3]
    return operands[:1] if value.operation == "lookup" else operands


def _varied_values(flow: Dataflow, request: PlanRequest) -> set[int]:
    """The values that depend on something whose gradient is wanted."""
    found = {_find_value(flow, kind, name) for kind, name in request.gradients}
    active = {number for number in found if number is not None}
    readers: dict[int, list[int]] = {}
    for value in flow.values:
        for number in _differentiable_operands(flow, value.id):
            readers.setdefault(number, []).append(value.id)
    waiting = list(active)
    while waiting:
        for reader in readers.get(waiting.pop(), []):
            if reader not in active:
                active.add(reader)
                waiting.append(reader)
    return active


def _useful_values(flow: Dataflow, request: PlanRequest) -> set[int]:
    """The values on which something depends that has a gradient coming in."""
    roots = [
        read.value
        for output, read in zip(flow.graph.outputs, flow.outputs, strict=True)
        if ("output", output.name) in request.cotangents
    ]
    for kind, reads in (("law", flow.laws), ("kept", flow.loss_inputs)):
        roots += [r.value for i, r in enumerate(reads) if (kind, str(i)) in request.cotangents]
    roots += [
        n for n, name in _states_and_inputs(flow).items() if ("history", name) in request.cotangents
    ]
    reached: set[int] = set()
    while roots:
        number = roots.pop()
        if number not in reached:
            reached.add(number)
            roots += _differentiable_operands(flow, number)
    return reached
