"""The plan: what is computed in which order, and where it is kept. Knows nothing of syntax.

A backend takes a plan and a `Call`, and computes the phases of `forward` in order, later those of
`backward`. T and B are known only then.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from rnnc.compiler.ir.cost_model import Cost, total_cost
from rnnc.compiler.ir.dataflow import Dataflow, Value
from rnnc.compiler.request import PlanRequest

PhaseKind = Literal["once", "batched", "scan", "loop"]
BufferExtent = Literal["call", "row", "step", "series"]


@dataclass(frozen=True, slots=True)
class FusionGroup:
    """Work that needs no barrier inside: wide operations first, then what is entrywise on them.

    roots: products, sums and group operations; none of them reads a result of this group. Each
        needs whole vectors, which earlier groups have finished.
    epilogue: elementwise and structural values in an order in which they can be computed; entry j of
        each needs only entries of the group, or finished ones: the epilogue of the products.
    """

    roots: tuple[int, ...]
    epilogue: tuple[int, ...]

    @property
    def values(self) -> tuple[int, ...]:
        """All values, in an order in which they can be computed."""
        return (*self.roots, *self.epilogue)


@dataclass(frozen=True, slots=True)
class Phase:
    """Values that are computed together.

    kind: `once` a call, from parameters alone; `batched` for all steps at once; a `scan`, whose
        one recurrence is `linear(a, b, v)` with a and b from earlier phases; or a `loop`, one step
        after the other, in each step one group after the other.
    direction: 1 from the first step to the last, −1 from the last to the first, 0 for neither.
    """

    id: int
    kind: PhaseKind
    direction: Literal[-1, 0, 1]
    adjoint: bool
    groups: tuple[FusionGroup, ...]

    @property
    def values(self) -> tuple[int, ...]:
        """All values, in an order in which they can be computed."""
        return tuple(number for group in self.groups for number in group.values)


@dataclass(frozen=True, slots=True)
class Buffer:
    """Memory for one value, or for several side by side.

    extent: `call` (its shape alone), `row` (B, width), `step` (B, width), overwritten in each step
        of a loop, or `series` (before + T + after, B, width).
    steps_before: steps in front, which hold the history of a state or input.
    steps_after: steps behind, zero, for adjoint values that are read ahead of time.
    first_phase, last_phase: the phases between which it lives; `last_phase` is −1 for what outlives the plan.
    is_residual: whether the forward pass keeps it for the backward pass.
    """

    id: int
    width: int
    extent: BufferExtent
    steps_before: int
    steps_after: int
    first_phase: int
    last_phase: int
    is_residual: bool


@dataclass(frozen=True, slots=True)
class BufferRegion:
    """Where a value lies: the entries from `offset` on of each row of a buffer."""

    buffer: int
    offset: int


@dataclass(frozen=True)
class Plan:
    """What a backend executes.

    dataflow: all values; a phase names them by number.
    phases: forward phases, then backward ones.
    regions: for each value its place, or None for constants, masks, parameters and inputs, which
        come with the call. Where a `slice`, a `state` or a part of a `concatenate` has the place
        of its source, nothing is left to be done for it.
    buffers: all memory that the plan needs.
    """

    dataflow: Dataflow
    request: PlanRequest
    phases: tuple[Phase, ...]
    regions: tuple[BufferRegion | None, ...]
    buffers: tuple[Buffer, ...]

    @property
    def forward_phases(self) -> tuple[Phase, ...]:
        """The phases of the forward pass."""
        return tuple(phase for phase in self.phases if not phase.adjoint)

    @property
    def backward_phases(self) -> tuple[Phase, ...]:
        """The phases of the backward pass."""
        return tuple(phase for phase in self.phases if phase.adjoint)

    @cached_property
    def phase_of(self) -> dict[int, int]:
        """The phase that computes each value; those of the call are in none."""
        return {number: phase.id for phase in self.phases for number in phase.values}

    @cached_property
    def residuals(self) -> tuple[int, ...]:
        """The forward values that the backward pass reads, in order."""
        values = self.dataflow.values
        found = {
            read.value
            for value in values
            if value.adjoint
            for read in value.operands
            if not values[read.value].adjoint
        }
        return tuple(sorted(found))

    def is_alias(self, value: Value) -> bool:
        """Whether a value is nothing but another name for the place of its operands."""
        place = self.regions[value.id]
        if place is None or value.operation not in {"slice", "state", "concatenate"}:
            return False
        return self.operands_in_place(value) == len(value.operands)

    def operands_in_place(self, value: Value) -> int:
        """How many leading operands of a slice, state or concatenation lie where they belong."""
        place = self.regions[value.id]
        start = 0
        for index, read in enumerate(value.operands):
            other = self.regions[read.value]
            if place is None or other is None or read.delay or other.buffer != place.buffer:
                return index
            offset = int(value.attributes[0]) if value.operation == "slice" else -start
            if other.offset + offset != place.offset:
                return index
            start += self.dataflow.values[read.value].size
        return len(value.operands)

    def phase_cost(self, phase: Phase) -> Cost:
        """FLOPs and bytes of a phase, for each step and row (`once`: for a call)."""
        return total_cost(self.dataflow, phase.values)

    def to_text(self) -> str:
        """A stable text form: phases, their groups and values, where each is kept."""
        return "\n".join(self._lines()) + "\n"

    def _lines(self) -> Iterator[str]:
        values = self.dataflow.values
        saved = set(self.residuals)
        for phase in self.phases:
            side = "backward" if phase.adjoint else "forward"
            steps = {1: ", first step to last", -1: ", last step to first", 0: ""}[phase.direction]
            yield f"phase {phase.id}: {phase.kind}{steps} ({side}), {self.phase_cost(phase)}"
            for index, group in enumerate(phase.groups):
                yield f"  group {index}"
                for number in group.values:
                    mark = " *" if number in group.roots else ""
                    kept = ", saved" if number in saved else ""
                    yield f"    {values[number]}  {self._format_region(number)}{kept}{mark}"
        for output, read in zip(self.dataflow.graph.outputs, self.dataflow.outputs, strict=True):
            yield f"output {output.name} = {read}"
        for law in self.dataflow.laws:
            yield f"law = {law}"
        for read in self.dataflow.loss_inputs:
            yield f"keep {read}"
        for gradient in self.dataflow.gradients:
            yield f"gradient {gradient.kind} {gradient.name} = %{gradient.value}"
        for buffer in self.buffers:
            margin = f" +{buffer.steps_before}" if buffer.steps_before else ""
            margin += f" {buffer.steps_after}+" if buffer.steps_after else ""
            kept = " saved" if buffer.is_residual else ""
            until = "the end" if buffer.last_phase < 0 else f"{buffer.last_phase}"
            yield (
                f"buffer {buffer.id}: {buffer.extent} {buffer.width}{margin}{kept}, "
                f"phases {buffer.first_phase} to {until}"
            )

    def _format_region(self, number: int) -> str:
        place = self.regions[number]
        if place is None:
            return "of the call"
        return f"in {place.buffer}" + (f" at {place.offset}" if place.offset else "")
