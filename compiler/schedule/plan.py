"""The plan: phases in execution order, and a buffer region for every value.

A backend executes the forward phases of a plan for a `Call`, later the backward ones. T and B are
known only then.
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
    """Work that needs no barrier inside: roots, then elementwise work on their results.

    roots: matmuls, sums and group operations. They need whole vectors, which earlier groups have
        finished, and use no result of this group.
    epilogue: elementwise and structural values in execution order; entry j of each needs only
        entries of the group, or of earlier groups.
    """

    roots: tuple[int, ...]
    epilogue: tuple[int, ...]

    @property
    def values(self) -> tuple[int, ...]:
        """The ids of all values, in execution order."""
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
        """The ids of all values, in execution order."""
        return tuple(value_id for group in self.groups for value_id in group.values)


@dataclass(frozen=True, slots=True)
class Buffer:
    """Memory for one value, or for several side by side.

    extent: `call` (its shape alone), `row` (B, width), `step` (B, width), overwritten in each step
        of a loop, or `series` (steps_before + T + steps_after, B, width).
    steps_before: steps in front, which hold the carry of a state or input.
    steps_after: steps behind, zero, for adjoint values that are used ahead of time.
    first_phase, last_phase: its live range; `last_phase` is −1 if it outlives the plan.
    is_residual: written by the forward pass, read by the backward pass.
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
    """The memory of a value: the entries from `offset` on of each row of a buffer."""

    buffer: int
    offset: int


@dataclass(frozen=True)
class Plan:
    """The program that a backend executes.

    dataflow: all values; phases refer to them by id.
    phases: forward phases, then backward ones.
    regions: for each value its region, or None for constants, masks, parameters and inputs, which
        come with the call. A `slice`, a `state` or a part of a `concatenate` in the region of its
        source needs no work.
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
        """The phase of each value; those that come with the call are in none."""
        return {value_id: phase.id for phase in self.phases for value_id in phase.values}

    @cached_property
    def residuals(self) -> tuple[int, ...]:
        """The ids of forward values that the backward pass uses, in ascending order."""
        values = self.dataflow.values
        residuals = {
            operand.value
            for value in values
            if value.adjoint
            for operand in value.operands
            if not values[operand.value].adjoint
        }
        return tuple(sorted(residuals))

    def is_alias(self, value: Value) -> bool:
        """Return True if a value lies in its operands' region, so that nothing is computed."""
        region = self.regions[value.id]
        if region is None or value.operation not in {"slice", "state", "concatenate"}:
            return False
        return self.operands_in_place(value) == len(value.operands)

    def operands_in_place(self, value: Value) -> int:
        """Count the leading operands of a slice, state or concatenation that lie in its region."""
        region = self.regions[value.id]
        start = 0
        for index, operand in enumerate(value.operands):
            source = self.regions[operand.value]
            if region is None or source is None or operand.delay or source.buffer != region.buffer:
                return index
            shift = int(value.attributes[0]) if value.operation == "slice" else -start
            if source.offset + shift != region.offset:
                return index
            start += self.dataflow.values[operand.value].size
        return len(value.operands)

    def phase_cost(self, phase: Phase) -> Cost:
        """Return the work of a phase, for each step and row (`once`: for a call)."""
        return total_cost(self.dataflow, phase.values)

    def to_text(self) -> str:
        """Return a stable text form: phases, their groups and values, buffers."""
        return "\n".join(self._lines()) + "\n"

    def _lines(self) -> Iterator[str]:
        values = self.dataflow.values
        residuals = set(self.residuals)
        for phase in self.phases:
            side = "backward" if phase.adjoint else "forward"
            steps = {1: ", first step to last", -1: ", last step to first", 0: ""}[phase.direction]
            yield f"phase {phase.id}: {phase.kind}{steps} ({side}), {self.phase_cost(phase)}"
            for index, group in enumerate(phase.groups):
                yield f"  group {index}"
                for value_id in group.values:
                    root = " *" if value_id in group.roots else ""
                    saved = ", saved" if value_id in residuals else ""
                    yield f"    {values[value_id]}  {self._format_region(value_id)}{saved}{root}"
        for output, operand in zip(self.dataflow.graph.outputs, self.dataflow.outputs, strict=True):
            yield f"output {output.name} = {operand}"
        for law in self.dataflow.laws:
            yield f"law = {law}"
        for operand in self.dataflow.loss_inputs:
            yield f"keep {operand}"
        for gradient in self.dataflow.gradients:
            yield f"gradient {gradient.kind} {gradient.name} = %{gradient.value}"
        for buffer in self.buffers:
            margin = f" +{buffer.steps_before}" if buffer.steps_before else ""
            margin += f" {buffer.steps_after}+" if buffer.steps_after else ""
            saved = " saved" if buffer.is_residual else ""
            until = "the end" if buffer.last_phase < 0 else f"{buffer.last_phase}"
            yield (
                f"buffer {buffer.id}: {buffer.extent} {buffer.width}{margin}{saved}, "
                f"phases {buffer.first_phase} to {until}"
            )

    def _format_region(self, value_id: int) -> str:
        region = self.regions[value_id]
        if region is None:
            return "of the call"
        return f"in {region.buffer}" + (f" at {region.offset}" if region.offset else "")
