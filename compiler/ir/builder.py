"""A flow while it is built or rewritten."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from rnnc.operators.graph.operator_graph import Attribute, OperatorGraph

from .dataflow import Flow, Gradient, Rate, Read, Value
from .ops import rate_of, result


@dataclass(slots=True)
class DraftValue:
    """A value that may still change; see `flow.Value`."""

    operation: str
    operands: tuple[Read, ...]
    shape: tuple[int, ...]
    rate: Rate
    attributes: tuple[Attribute, ...]
    adjoint: bool
    origin: int


class Draft:
    """Grows and rewrites a flow.

    `redirect` makes every reader of one value read another; `finish` applies it, leaves out what
    nobody reads, and puts operands before readers.
    """

    def __init__(self, graph: OperatorGraph) -> None:
        self.graph = graph
        self.values: list[DraftValue] = []
        self.outputs: list[Read] = []
        self.laws: list[Read] = []
        self.kept: list[Read] = []
        self.gradients: list[Gradient] = []
        self.adjoint = False
        """Whether new values belong to the backward pass."""
        self._instead: dict[int, Read] = {}

    @classmethod
    def of(cls, flow: Flow) -> Draft:
        """A draft that starts as a flow, its values under the same numbers."""
        draft = cls(flow.graph)
        draft.values = [
            DraftValue(v.operation, v.operands, v.shape, v.rate, v.attributes, v.adjoint, v.origin)
            for v in flow.values
        ]
        draft.outputs, draft.laws = list(flow.outputs), list(flow.laws)
        draft.kept = list(flow.kept)
        draft.gradients = list(flow.gradients)
        return draft

    def source(
        self,
        operation: str,
        attributes: tuple[Attribute, ...],
        shape: tuple[int, ...],
        rate: Rate,
        origin: int = -1,
    ) -> Read:
        """A value that comes from outside."""
        self.values.append(DraftValue(operation, (), shape, rate, attributes, self.adjoint, origin))
        return Read(len(self.values) - 1)

    def add(
        self,
        operation: str,
        *operands: Read,
        attributes: tuple[Attribute, ...] = (),
        origin: int = -1,
        adjoint: bool | None = None,
    ) -> Read:
        """A new value."""
        shape, rate = result(operation, attributes, [self.kind(read) for read in operands])
        side = self.adjoint if adjoint is None else adjoint
        self.values.append(DraftValue(operation, operands, shape, rate, attributes, side, origin))
        return Read(len(self.values) - 1)

    def constant(self, number: float) -> Read:
        """One number."""
        return self.source("constant", (number,), (1,), "call")

    def kind(self, read: Read) -> tuple[tuple[int, ...], Rate]:
        """The shape and rate of what is read."""
        value = self.values[read.value]
        return value.shape, value.rate

    def width(self, read: Read) -> int:
        """The width of a vector that is read."""
        return self.values[read.value].shape[-1]

    def redirect(self, old: int, new: Read) -> None:
        """Make the readers of a value read another one of the same step."""
        # Delays do not add up: what a value saw at its own step lay in its own segment.
        assert not new.delay, f"{old} cannot be {new} for those who read it at other steps"
        self._instead[old] = new

    def settled(self, read: Read) -> Read:
        """What a read has become through all redirections."""
        while read.value in self._instead:
            read = Read(self._instead[read.value].value, read.delay)
        return read

    def finish(self) -> Flow:
        """The flow: redirections applied, what nobody needs left out, operands before readers."""
        for value in self.values:
            value.operands = tuple(self.settled(read) for read in value.operands)
        self.outputs = [self.settled(read) for read in self.outputs]
        self.laws = [self.settled(read) for read in self.laws]
        self.kept = [self.settled(read) for read in self.kept]
        self.gradients = [
            g if g.value < 0 else replace(g, value=self.settled(Read(g.value)).value)
            for g in self.gradients
        ]
        order = self._order()
        renumbered = {old: new for new, old in enumerate(order)}
        values: list[Value] = []
        for new, old in enumerate(order):
            v = self.values[old]
            operands = tuple(Read(renumbered[r.value], r.delay) for r in v.operands)
            rate = v.rate
            if operands:
                # A value may by now be made of parameters alone. What is read at another step may
                # come later in the order; it is of a step.
                rates = [
                    values[r.value].rate if r.value < new else self.values[old_read.value].rate
                    for r, old_read in zip(operands, v.operands, strict=True)
                ]
                rate = rate_of(v.operation, rates)
            values.append(
                Value(new, v.operation, operands, v.shape, rate, v.attributes, v.adjoint, v.origin)
            )

        def renew(reads: Sequence[Read]) -> tuple[Read, ...]:
            return tuple(Read(renumbered[r.value], r.delay) for r in reads)

        return Flow(
            self.graph,
            tuple(values),
            renew(self.outputs),
            renew(self.laws),
            renew(self.kept),
            tuple(
                g if g.value < 0 else replace(g, value=renumbered[g.value]) for g in self.gradients
            ),
        )

    def _order(self) -> list[int]:
        """Everything that is needed, forward before adjoint, instant operands before readers."""
        # What is carried on is wanted, whether or not anything else reads it.
        carried = {s.name for s in self.graph.states}
        carried |= {variable.name for variable in self.graph.inputs if variable.history}
        roots = [read.value for read in (*self.outputs, *self.laws, *self.kept)]
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
