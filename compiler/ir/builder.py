"""Builder of a dataflow: creates and rewrites values, then orders and renumbers them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from rnnc.operators.graph.operator_graph import Attribute, OperatorGraph

from .dataflow import Dataflow, Gradient, Operand, Rate, Value
from .ops import infer_rate, infer_type


@dataclass(slots=True)
class MutableValue:
    """A value that may still change; fields as in `dataflow.Value`, its id is its index."""

    operation: str
    operands: tuple[Operand, ...]
    shape: tuple[int, ...]
    rate: Rate
    attributes: tuple[Attribute, ...]
    adjoint: bool
    origin: int


class Builder:
    """A dataflow under construction; `build` resolves replacements, drops dead values and sorts."""

    def __init__(self, graph: OperatorGraph) -> None:
        self.graph = graph
        self.values: list[MutableValue] = []
        self.outputs: list[Operand] = []
        self.laws: list[Operand] = []
        self.loss_inputs: list[Operand] = []
        self.gradients: list[Gradient] = []
        self.adjoint = False
        """Whether new values belong to the backward pass."""
        self._replacements: dict[int, Operand] = {}

    @classmethod
    def from_dataflow(cls, dataflow: Dataflow) -> Builder:
        """Create a builder that holds the values of a dataflow under their ids."""
        builder = cls(dataflow.graph)
        builder.values = [
            MutableValue(
                v.operation, v.operands, v.shape, v.rate, v.attributes, v.adjoint, v.origin
            )
            for v in dataflow.values
        ]
        builder.outputs, builder.laws = list(dataflow.outputs), list(dataflow.laws)
        builder.loss_inputs = list(dataflow.loss_inputs)
        builder.gradients = list(dataflow.gradients)
        return builder

    def create_source(
        self,
        operation: str,
        attributes: tuple[Attribute, ...],
        shape: tuple[int, ...],
        rate: Rate,
        origin: int = -1,
    ) -> Operand:
        """Create a value of an explicit type, without operands."""
        self.values.append(
            MutableValue(operation, (), shape, rate, attributes, self.adjoint, origin)
        )
        return Operand(len(self.values) - 1)

    def create(
        self,
        operation: str,
        *operands: Operand,
        attributes: tuple[Attribute, ...] = (),
        origin: int = -1,
        adjoint: bool | None = None,
    ) -> Operand:
        """Create a value of an operation, its type inferred, and return it as an operand."""
        types = [self.type_of(operand) for operand in operands]
        shape, rate = infer_type(operation, attributes, types)
        side = self.adjoint if adjoint is None else adjoint
        self.values.append(MutableValue(operation, operands, shape, rate, attributes, side, origin))
        return Operand(len(self.values) - 1)

    def constant(self, number: float) -> Operand:
        """Create a constant of width 1."""
        return self.create_source("constant", (number,), (1,), "call")

    def type_of(self, operand: Operand) -> tuple[tuple[int, ...], Rate]:
        """Return the shape and rate of an operand."""
        value = self.values[operand.value]
        return value.shape, value.rate

    def width(self, operand: Operand) -> int:
        """Return the width of a vector."""
        return self.values[operand.value].shape[-1]

    def replace_uses(self, value_id: int, replacement: Operand) -> None:
        """Make all users of a value use another value of the same step."""
        # Delays do not add up: at its own step a value saw the boundaries of its own segment.
        assert not replacement.delay, (
            f"{value_id} cannot be {replacement} for those who read it at other steps"
        )
        self._replacements[value_id] = replacement

    def resolve(self, operand: Operand) -> Operand:
        """Follow replacements to the operand that takes this one's place."""
        while operand.value in self._replacements:
            operand = Operand(self._replacements[operand.value].value, operand.delay)
        return operand

    def build(self) -> Dataflow:
        """Return the dataflow: replacements resolved, dead values dropped, ids in order."""
        for value in self.values:
            value.operands = tuple(self.resolve(operand) for operand in value.operands)
        self.outputs = [self.resolve(operand) for operand in self.outputs]
        self.laws = [self.resolve(operand) for operand in self.laws]
        self.loss_inputs = [self.resolve(operand) for operand in self.loss_inputs]
        self.gradients = [
            g if g.value < 0 else replace(g, value=self.resolve(Operand(g.value)).value)
            for g in self.gradients
        ]
        order = self._topological_order()
        new_ids = {old: new for new, old in enumerate(order)}
        values: list[Value] = []
        for new, old in enumerate(order):
            v = self.values[old]
            operands = tuple(Operand(new_ids[r.value], r.delay) for r in v.operands)
            rate = v.rate
            if operands:
                # A rewrite may leave parameters as the only operands, which lowers the rate. A
                # delayed operand may come later in the order; its rate is `step` all the same.
                rates = [
                    values[r.value].rate if r.value < new else self.values[old_operand.value].rate
                    for r, old_operand in zip(operands, v.operands, strict=True)
                ]
                rate = infer_rate(v.operation, rates)
            values.append(
                Value(new, v.operation, operands, v.shape, rate, v.attributes, v.adjoint, v.origin)
            )

        def renumber(operands: Sequence[Operand]) -> tuple[Operand, ...]:
            return tuple(Operand(new_ids[r.value], r.delay) for r in operands)

        return Dataflow(
            self.graph,
            tuple(values),
            renumber(self.outputs),
            renumber(self.laws),
            renumber(self.loss_inputs),
            tuple(g if g.value < 0 else replace(g, value=new_ids[g.value]) for g in self.gradients),
        )

    def _topological_order(self) -> list[int]:
        """Sort the live values: forward before adjoint, undelayed operands before their users."""
        live = self._live_values()
        order: list[int] = []
        marks: dict[int, Literal["open", "done"]] = {}
        for root in sorted(live, key=lambda value_id: (self.values[value_id].adjoint, value_id)):
            stack = [root]
            while stack:
                value_id = stack[-1]
                if marks.get(value_id) == "done":
                    stack.pop()
                    continue
                unordered = [
                    operand.value
                    for operand in self.values[value_id].operands
                    if operand.delay == 0 and marks.get(operand.value) != "done"
                ]
                if unordered and marks.get(value_id) == "open":
                    raise ValueError(f"a cycle without a delay through {unordered[0]}")
                if unordered:
                    marks[value_id] = "open"
                    stack += reversed(unordered)
                    continue
                marks[value_id] = "done"
                order.append(value_id)
                stack.pop()
        return order

    def _live_values(self) -> set[int]:
        # The carry is a result of a call even if nothing else uses it.
        carried = {s.name for s in self.graph.states}
        carried |= {variable.name for variable in self.graph.inputs if variable.max_delay}
        pending = [operand.value for operand in (*self.outputs, *self.laws, *self.loss_inputs)]
        pending += [
            value_id
            for value_id, value in enumerate(self.values)
            if value.operation in {"state", "input"} and value.attributes[0] in carried
        ]
        pending += [gradient.value for gradient in self.gradients if gradient.value >= 0]
        live: set[int] = set()
        while pending:
            value_id = pending.pop()
            if value_id not in live:
                live.add(value_id)
                pending += [operand.value for operand in self.values[value_id].operands]
        return live
