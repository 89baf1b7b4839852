"""A flow while it is built or rewritten."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from rnnc.operators.graph.operator_graph import Attribute, OperatorGraph

from .dataflow import Dataflow, Gradient, Operand, Rate, Value
from .ops import infer_rate, infer_type


@dataclass(slots=True)
class MutableValue:
    """A value that may still change; see `flow.Value`."""

    operation: str
    operands: tuple[Operand, ...]
    shape: tuple[int, ...]
    rate: Rate
    attributes: tuple[Attribute, ...]
    adjoint: bool
    origin: int


class Builder:
    """Grows and rewrites a flow.

    `replace_uses` makes every reader of one value read another; `build` applies it, leaves out what
    nobody reads, and puts operands before readers.
    """

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
        """A draft that starts as a flow, its values under the same numbers."""
        draft = cls(dataflow.graph)
        draft.values = [
            MutableValue(
                v.operation, v.operands, v.shape, v.rate, v.attributes, v.adjoint, v.origin
            )
            for v in dataflow.values
        ]
        draft.outputs, draft.laws = list(dataflow.outputs), list(dataflow.laws)
        draft.loss_inputs = list(dataflow.loss_inputs)
        draft.gradients = list(dataflow.gradients)
        return draft

    def create_source(
        self,
        operation: str,
        attributes: tuple[Attribute, ...],
        shape: tuple[int, ...],
        rate: Rate,
        origin: int = -1,
    ) -> Operand:
        """A value that comes from outside."""
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
        """A new value."""
        shape, rate = infer_type(operation, attributes, [self.type_of(read) for read in operands])
        side = self.adjoint if adjoint is None else adjoint
        self.values.append(MutableValue(operation, operands, shape, rate, attributes, side, origin))
        return Operand(len(self.values) - 1)

    def constant(self, number: float) -> Operand:
        """One number."""
        return self.create_source("constant", (number,), (1,), "call")

    def type_of(self, operand: Operand) -> tuple[tuple[int, ...], Rate]:
        """The shape and rate of what is read."""
        value = self.values[operand.value]
        return value.shape, value.rate

    def width(self, operand: Operand) -> int:
        """The width of a vector that is read."""
        return self.values[operand.value].shape[-1]

    def replace_uses(self, value_id: int, replacement: Operand) -> None:
        """Make the readers of a value read another one of the same step."""
        # Delays do not add up: what a value saw at its own step lay in its own segment.
        assert not replacement.delay, (
            f"{value_id} cannot be {replacement} for those who read it at other steps"
        )
        self._replacements[value_id] = replacement

    def resolve(self, operand: Operand) -> Operand:
        """What a read has become through all redirections."""
        while operand.value in self._replacements:
            operand = Operand(self._replacements[operand.value].value, operand.delay)
        return operand

    def build(self) -> Dataflow:
        """The flow: redirections applied, what nobody needs left out, operands before readers."""
        for value in self.values:
            value.operands = tuple(self.resolve(read) for read in value.operands)
        self.outputs = [self.resolve(read) for read in self.outputs]
        self.laws = [self.resolve(read) for read in self.laws]
        self.loss_inputs = [self.resolve(read) for read in self.loss_inputs]
        self.gradients = [
            g if g.value < 0 else replace(g, value=self.resolve(Operand(g.value)).value)
            for g in self.gradients
        ]
        order = self._topological_order()
        renumbered = {old: new for new, old in enumerate(order)}
        values: list[Value] = []
        for new, old in enumerate(order):
            v = self.values[old]
            operands = tuple(Operand(renumbered[r.value], r.delay) for r in v.operands)
            rate = v.rate
            if operands:
                # A value may by now be made of parameters alone. What is read at another step may
                # come later in the order; it is of a step.
                rates = [
                    values[r.value].rate if r.value < new else self.values[old_read.value].rate
                    for r, old_read in zip(operands, v.operands, strict=True)
                ]
                rate = infer_rate(v.operation, rates)
            values.append(
                Value(new, v.operation, operands, v.shape, rate, v.attributes, v.adjoint, v.origin)
            )

        def renew(reads: Sequence[Operand]) -> tuple[Operand, ...]:
            return tuple(Operand(renumbered[r.value], r.delay) for r in reads)

        return Dataflow(
            self.graph,
            tuple(values),
            renew(self.outputs),
            renew(self.laws),
            renew(self.loss_inputs),
            tuple(
                g if g.value < 0 else replace(g, value=renumbered[g.value]) for g in self.gradients
            ),
        )

    def _topological_order(self) -> list[int]:
        """Everything that is needed, forward before adjoint, instant operands before readers."""
        # What is carried on is wanted, whether or not anything else reads it.
        carried = {s.name for s in self.graph.states}
        carried |= {variable.name for variable in self.graph.inputs if variable.max_delay}
        roots = [read.value for read in (*self.outputs, *self.laws, *self.loss_inputs)]
        roots += [
            number
            for number, value in enumerate(self.values)
            if value.operation in {"state", "input"} and value.attributes[0] in carried
        ]
        roots += [gradient.value for gradient in self.gradients if gradient.value >= 0]
        needed: set[int] = set()
        waiting = list(roots)
        while waiting:
            number = waiting.pop()
            if number not in needed:
                needed.add(number)
                waiting += [read.value for read in self.values[number].operands]
        order: list[int] = []
        done: dict[int, Literal["open", "done"]] = {}
        start = sorted(needed, key=lambda number: (self.values[number].adjoint, number))
        for root in start:
            stack = [root]
            while stack:
                number = stack[-1]
                if done.get(number) == "done":
                    stack.pop()
                    continue
                instant = [
                    read.value
                    for read in self.values[number].operands
                    if read.delay == 0 and done.get(read.value) != "done"
                ]
                if instant and done.get(number) == "open":
                    raise ValueError(f"a cycle without a delay through {instant[0]}")
                if instant:
                    done[number] = "open"
                    stack += reversed(instant)
                    continue
                done[number] = "done"
                order.append(number)
                stack.pop()
        return order
