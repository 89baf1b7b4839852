"""Reverse-mode differentiation: dataflow -> the same dataflow with its adjoint values.

Where v uses u with delay d, the cotangent of u at t gains J(t+d)ᵀ ct(v)[t+d]: a use of delay −d,
cut at the same segment boundaries. A use from outside of its segment contributes to the carry's or
the initial value's gradient. Cotangents of parameters are summed over steps and rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from rnnc.compiler.ir.builder import Builder
from rnnc.compiler.ir.dataflow import Dataflow, Gradient, GradientKind, Operand
from rnnc.compiler.ir.ops import SOURCE_OPS
from rnnc.compiler.request import PlanRequest
from rnnc.operators.graph.operator_graph import Attribute

from .vjp_rules import NON_DIFFERENTIABLE_OPS, VJP_RULES


def differentiate(dataflow: Dataflow, request: PlanRequest) -> Dataflow:
    """Add the adjoint values of all requested gradients.

    Gradients that are zero because nothing depends on them have the value −1.
    """
    return _ReverseMode(dataflow, request).build()


class _ReverseMode:
    """The adjoint under construction; implements the `VjpBuilder` of the rules.

    active: values that need a cotangent. They depend on a differentiated variable and influence a
        result with an incoming cotangent (varied and useful: Hascoët and Pascual 2013).
    cotangents: by value the terms of its cotangent.
    boundary_cotangents: by value the terms of delayed uses, which also reach before the segment.
    window_cotangents: by value the terms of windows over it.
    """

    def __init__(self, dataflow: Dataflow, request: PlanRequest) -> None:
        self.dataflow, self.request = dataflow, request
        self.builder = Builder.from_dataflow(dataflow)
        self.builder.adjoint = True
        self.active = _varied_values(dataflow, request) & _useful_values(dataflow, request)
        self.cotangents: dict[int, list[Operand]] = {}
        self.boundary_cotangents: dict[int, list[Operand]] = {}
        self.window_cotangents: dict[int, list[Operand]] = {}
        self.memo: dict[object, Operand] = {}

    def build(self) -> Dataflow:
        # The sums come first, their terms last: in a cycle, rules use sums that are incomplete.
        builder, values = self.builder, self.builder.values
        sums = {
            value_id: builder.create_source(
                "add", (), values[value_id].shape, values[value_id].rate
            )
            for value_id in sorted(self.active)
        }
        self._add_output_cotangents()
        for value in self.dataflow.values:
            if value.id not in self.active or value.operation in SOURCE_OPS:
                continue
            rule = VJP_RULES[value.operation]
            result = Operand(value.id)
            terms = rule(self, result, value.operands, sums[value.id], value.attributes)
            for operand, term in zip(value.operands, terms, strict=True):
                if term is not None and operand.value in self.active:
                    self._accumulate(operand, term)
        for value_id, cotangent in sums.items():
            values[cotangent.value].operands = tuple(self.cotangents[value_id])
        builder.gradients = [
            self._create_gradient(kind, name, sums) for kind, name in self.request.gradients
        ]
        return builder.build()

    def create(
        self, operation: str, *operands: Operand, attributes: tuple[Attribute, ...] = ()
    ) -> Operand:
        if operation == "negate" and self.builder.values[operands[0].value].operation == "negate":
            inner = self.builder.values[operands[0].value].operands[0]
            return Operand(inner.value, inner.delay + operands[0].delay)
        key = (operation, operands, attributes)
        if key not in self.memo:
            self.memo[key] = self.builder.create(operation, *operands, attributes=attributes)
        return self.memo[key]

    def constant(self, value: float) -> Operand:
        key = ("constant", value)
        if key not in self.memo:
            self.memo[key] = self.builder.constant(value)
        return self.memo[key]

    def width(self, value: Operand) -> int:
        return self.builder.width(value)

    def shape(self, value: Operand) -> tuple[int, ...]:
        return self.builder.values[value.value].shape

    def shift(self, value: Operand, steps: int) -> Operand:
        if self.builder.type_of(value)[1] != "step":
            return value
        # Delays do not add up over segment boundaries: a delayed operand needs a value of its own.
        source = self.create("add", value) if value.delay else value
        return Operand(source.value, -steps)

    def _add_output_cotangents(self) -> None:
        dataflow = self.dataflow
        for output, operand in zip(dataflow.graph.outputs, dataflow.outputs, strict=True):
            self._add_result_cotangent("output", output.name, operand)
        for kind, operands in (("law", dataflow.laws), ("kept", dataflow.loss_inputs)):
            for index, operand in enumerate(operands):
                self._add_result_cotangent(kind, str(index), operand)
        for value_id, name in _states_and_inputs(dataflow).items():
            if ("history", name) in self.request.cotangents and value_id in self.active:
                cotangent = self._create_seed("history", name, Operand(value_id))
                self.cotangents.setdefault(value_id, []).append(cotangent)
                self.boundary_cotangents.setdefault(value_id, []).append(cotangent)

    def _add_result_cotangent(self, kind: str, name: str, operand: Operand) -> None:
        if (kind, name) in self.request.cotangents and operand.value in self.active:
            self._accumulate(operand, self._create_seed(kind, name, operand))

    def _create_seed(self, kind: str, name: str, operand: Operand) -> Operand:
        shape = self.builder.type_of(operand)[0]
        return self.builder.create_source("seed", (kind, name), shape, "step")

    def _accumulate(self, operand: Operand, term: Operand) -> None:
        """Add a term to the cotangent of an operand's value, reduced to the operand's type."""
        shape, rate = self.builder.type_of(operand)
        if self.builder.values[term.value].operation == "unmix":
            # `unmix` stands at the step of the row already: its delays are in its operands.
            self.cotangents.setdefault(operand.value, []).append(term)
            self.window_cotangents.setdefault(operand.value, []).append(term)
            return
        if rate == "call" and self.builder.type_of(term)[1] != "call":
            term = self.create("total", term)
        if shape == (1,) and self.builder.width(term) > 1:
            term = self.create("group_sum", term, attributes=(self.builder.width(term),))
        self.cotangents.setdefault(operand.value, []).append(
            Operand(term.value, term.delay - operand.delay)
        )
        if operand.delay:
            self.boundary_cotangents.setdefault(operand.value, []).append(
                Operand(term.value, -operand.delay)
            )

    def _create_gradient(self, kind: str, name: str, sums: dict[int, Operand]) -> Gradient:
        return Gradient(cast(GradientKind, kind), name, self._gradient_value(kind, name, sums))

    def _gradient_value(self, kind: str, name: str, sums: dict[int, Operand]) -> int:
        value_id = _find_value(self.dataflow, kind, name)
        if value_id is None or value_id not in self.active:
            return -1
        if kind in {"parameter", "input"}:
            return sums[value_id].value
        terms = list(self.boundary_cotangents.get(value_id, []))
        if kind == "history":
            terms += [
                self._window_carry_cotangent(term, name)
                for term in self.window_cotangents.get(value_id, [])
            ]
        return self.builder.create(f"to_{kind}", *terms, attributes=(name,)).value if terms else -1

    def _window_carry_cotangent(self, cotangent: Operand, name: str) -> Operand:
        """Create the part of an `unmix` that falls on the steps before the first."""
        value = self.builder.values[cotangent.value]
        return self.create("unmix_history", *value.operands, attributes=(name, *value.attributes))


def _states_and_inputs(dataflow: Dataflow) -> dict[int, str]:
    """Return the names of states and inputs by the ids of their values."""
    return {
        v.id: str(v.attributes[0]) for v in dataflow.values if v.operation in {"state", "input"}
    }


def _find_value(dataflow: Dataflow, kind: str, name: str) -> int | None:
    operations = {"parameter": ["parameter"], "input": ["input"], "initial": ["state"]}
    keys = [(operation, name) for operation in operations.get(kind, ["state", "input"])]
    ids = [dataflow.ids_by_name[key] for key in keys if key in dataflow.ids_by_name]
    return min(ids, default=None)


def _differentiable_operands(dataflow: Dataflow, value_id: int) -> Sequence[int]:
    """Return the ids of the operands that receive a cotangent from a value."""
    value = dataflow.values[value_id]
    operands = [operand.value for operand in value.operands]
    if value.operation in NON_DIFFERENTIABLE_OPS:
        return ()
    if value.operation == "select":
        return operands[1:]
    if value.operation == "log_mix":
        return operands[2:3]
    return operands[:1] if value.operation == "lookup" else operands


def _varied_values(dataflow: Dataflow, request: PlanRequest) -> set[int]:
    """Collect the values that depend on a variable whose gradient is requested."""
    variables = {_find_value(dataflow, kind, name) for kind, name in request.gradients}
    varied = {value_id for value_id in variables if value_id is not None}
    users: dict[int, list[int]] = {}
    for value in dataflow.values:
        for value_id in _differentiable_operands(dataflow, value.id):
            users.setdefault(value_id, []).append(value.id)
    pending = list(varied)
    while pending:
        for user in users.get(pending.pop(), []):
            if user not in varied:
                varied.add(user)
                pending.append(user)
    return varied


def _useful_values(dataflow: Dataflow, request: PlanRequest) -> set[int]:
    """Collect the values that influence a result with an incoming cotangent."""
    pending = [
        operand.value
        for output, operand in zip(dataflow.graph.outputs, dataflow.outputs, strict=True)
        if ("output", output.name) in request.cotangents
    ]
    for kind, operands in (("law", dataflow.laws), ("kept", dataflow.loss_inputs)):
        pending += [
            operand.value
            for index, operand in enumerate(operands)
            if (kind, str(index)) in request.cotangents
        ]
    pending += [
        value_id
        for value_id, name in _states_and_inputs(dataflow).items()
        if ("history", name) in request.cotangents
    ]
    useful: set[int] = set()
    while pending:
        value_id = pending.pop()
        if value_id not in useful:
            useful.add(value_id)
            pending += _differentiable_operands(dataflow, value_id)
    return useful
