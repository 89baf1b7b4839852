"""Tensors of one execution of a plan: buffers, external values, delayed views of them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from rnnc.compiler.calls.sequence_masks import SequenceMasks
from rnnc.compiler.ir.dataflow import BOUNDARY_VALUE_OPS, Operand, Value
from rnnc.compiler.schedule.plan import Buffer, Plan
from rnnc.operators.semantics.call import Call


class AtenMemory:
    """Tensors of one execution, with views of them for operands.

    A buffer is allocated at its first write and freed after the last phase that reads it.
    """

    def __init__(self, plan: Plan, call: Call, like: Tensor, boundaries: SequenceMasks) -> None:
        self.plan, self.call, self.like, self.boundaries = plan, call, like, boundaries
        self.values = plan.dataflow.values
        self.buffers: dict[int, Tensor] = {}
        self.external: dict[int, tuple[Tensor, int]] = {}
        self.carry_cotangents: dict[str, Tensor] = {}
        """Per variable, the part of its carry's cotangent that belongs to the incoming carry."""
        self.initial_cotangents: dict[str, Tensor] = {}
        """Per variable, the part of its carry's cotangent that belongs to its initial value."""
        self._shift_cache: dict[tuple[int, int], Tensor] = {}
        for value in self.values:
            self._bind_external(value)

    def _bind_external(self, value: Value) -> None:
        call, name = self.call, str(value.attributes[0]) if value.attributes else ""
        if value.operation == "parameter":
            self.external[value.id] = (call.parameters[name].detach(), 0)
        elif value.operation == "constant":
            number = float(value.attributes[0])
            self.external[value.id] = (self.like.new_full((1,), number), 0)
        elif value.operation == "mask":
            self.external[value.id] = (call.masks[int(value.attributes[0])], 0)
        elif value.operation == "present":
            first, last = (int(end) for end in value.attributes)
            self.external[value.id] = (
                self.boundaries.window_mask(first, last).to(self.like.dtype),
                0,
            )
        elif value.operation == "input":
            series = self.boundaries.repeat_last_step(call.inputs[name].detach())
            history = call.carry.get(name)
            before = 0 if history is None else len(history)
            if history is not None:
                series = torch.cat([history.detach(), series])
            self.external[value.id] = (series, before)

    def buffer(self, number: int) -> Tensor:
        """Return the tensor of a buffer, allocated if necessary, its margins zeroed."""
        if number not in self.buffers:
            self.buffers[number] = self._allocate(self.plan.buffers[number])
        return self.buffers[number]

    def _allocate(self, buffer: Buffer) -> Tensor:
        steps, rows = self.call.steps, self.call.batch_size
        dtype = self.buffer_dtype(buffer)
        if buffer.extent in {"row", "step"}:
            return self.like.new_empty(rows, buffer.width, dtype=dtype)
        before, after = buffer.steps_before, buffer.steps_after
        tensor = self.like.new_empty(before + steps + after, rows, buffer.width, dtype=dtype)
        if before:
            tensor[:before].zero_()
        if after:
            tensor[before + steps :].zero_()
        return tensor

    def buffer_dtype(self, buffer: Buffer) -> torch.dtype:
        """Return the dtype that a buffer is stored in."""
        return self.like.dtype

    def fill_margins(self, value: Value) -> None:
        """Fill a state's margins: its carry in front, its initial value behind."""
        place = self.plan.regions[value.id]
        assert place is not None
        buffer, name = self.plan.buffers[place.buffer], str(value.attributes[0])
        columns = self.buffer(place.buffer)[..., place.offset : place.offset + value.shape[0]]
        history = self.call.carry.get(name)
        if history is not None and buffer.steps_before:
            columns[buffer.steps_before - len(history) : buffer.steps_before].copy_(
                history.detach()
            )
        if buffer.steps_after and name in self.call.initial_values and history is None:
            initial = self.boundaries.initial_value(name).detach()
            columns[buffer.steps_before + self.call.steps :].copy_(
                initial if initial.dim() == 2 else initial[-1:]
            )

    def bind(self, number: int, tensor: Tensor) -> None:
        """Bind a tensor to a value that has no buffer: per call, per row, or from outside."""
        self.external[number] = (tensor, 0)

    def output(self, number: int) -> Tensor:
        """Return the tensor to write a value to: (T, B, n), or (B, n) if a loop overwrites it."""
        return self._locate(number)[0]

    def _locate(self, number: int) -> tuple[Tensor, int]:
        place = self.plan.regions[number]
        assert place is not None, self.values[number]
        buffer = self.plan.buffers[place.buffer]
        tensor, width = self.buffer(place.buffer), self.values[number].shape[-1]
        if buffer.width != width:
            tensor = tensor[..., place.offset : place.offset + width]
        if buffer.extent != "series":
            return tensor, 0
        if buffer.steps_before or buffer.steps_after:
            return tensor[
                buffer.steps_before : buffer.steps_before + self.call.steps
            ], buffer.steps_before
        return tensor, 0

    def padded_series(self, number: int) -> tuple[Tensor, int]:
        """Return a value with its margins, and the number of steps before the first one."""
        if number in self.external:
            return self.external[number]
        place = self.plan.regions[number]
        assert place is not None, self.values[number]
        width = self.values[number].shape[-1]
        tensor = self.buffer(place.buffer)[..., place.offset : place.offset + width]
        return tensor, self.plan.buffers[place.buffer].steps_before

    def series(self, number: int) -> Tensor:
        """Return a value at all steps: (T, B, n); per call (n) or a matrix; per row (B, n)."""
        if number in self.external:
            tensor, before = self.external[number]
            return tensor[before:] if before else tensor
        return self.output(number)

    def shifted_series(self, operand: Operand) -> Tensor:
        """Return an operand at all steps, shifted by its delay but not masked to segments."""
        if not operand.delay:
            return self.series(operand.value)
        line, before = self.padded_series(operand.value)
        steps = self.call.steps
        first = before - operand.delay
        if first >= 0 and first + steps <= len(line):
            return line[first : first + steps]
        key = (operand.value, operand.delay)
        if key not in self._shift_cache:
            front = line.new_zeros(max(0, -first), *line.shape[1:])
            back = line.new_zeros(max(0, first + steps - len(line)), *line.shape[1:])
            whole = torch.cat([front, line, back])
            first = max(first, 0)
            self._shift_cache[key] = whole[first : first + steps]
        return self._shift_cache[key]

    def load(self, operand: Operand) -> Tensor:
        """Return an operand at all steps, masked to segments; shapes as in `series`."""
        value = self.values[operand.value]
        if not operand.delay:
            found = self.series(operand.value)
            return found.expand(self.call.steps, *found.shape) if value.rate == "row" else found
        series = self.shifted_series(operand)
        linked = self.segment_mask(operand)
        if linked is None:
            return series
        if not value.shape:
            return series.masked_fill(~linked.squeeze(-1), -1)
        return torch.where(linked, series, self.boundary_value(value))

    def segment_mask(self, operand: Operand) -> Tensor | None:
        """Return the mask (T, B, 1) of steps that read their own segment; None if all do."""
        bounded = self.values[operand.value].operation in BOUNDARY_VALUE_OPS
        past = operand.value not in self.plan.dataflow.states_without_carry
        if not self.boundaries.may_cross_segment(
            operand.delay, has_boundary_value=bounded, has_carry=past
        ):
            return None
        return self.boundaries.same_segment(operand.delay, has_carry=past)

    def boundary_value(self, value: Value) -> Tensor:
        """Return the value outside of a segment; it broadcasts with (T, B, n)."""
        name = str(value.attributes[0]) if value.attributes else ""
        if value.operation == "state":
            return self.boundaries.initial_value(name).detach()
        return self.like.new_zeros(())

    def reuse_operand_buffer(
        self, value: Value, last_uses: dict[int, list[int]], sources: Sequence[int]
    ) -> None:
        """Store an elementwise value over an operand that nothing else reads later.

        sources: the ids of all values that are read while it is computed.
        """
        place = self.plan.regions[value.id]
        assert place is not None
        mine = self.plan.buffers[place.buffer]
        if mine.id in self.buffers or not _holds_one_series(mine, value):
            return
        used = [place.buffer for place in map(self.plan.regions.__getitem__, sources) if place]
        for read in value.operands:
            there = self.plan.regions[read.value]
            if there is None or read.delay or used.count(there.buffer) > 1:
                continue
            theirs = self.plan.buffers[there.buffer]
            if (
                theirs.id in last_uses.get(value.id, ())
                and theirs.id in self.buffers
                and _holds_one_series(theirs, self.values[read.value])
                and not theirs.is_residual
                and theirs.last_phase == mine.first_phase
                and theirs.width == mine.width
            ):
                self.buffers[mine.id] = self.buffers[theirs.id]
                return

    def free(self, numbers: Sequence[int], phase: int) -> None:
        """Free buffers whose last phase is this one."""
        for number in numbers:
            if self.plan.buffers[number].last_phase == phase:
                self.buffers.pop(number, None)

    def free_after(self, phase: int, keep: frozenset[int]) -> None:
        """Free all buffers that no later phase reads, but for `keep`."""
        for number in list(self.buffers):
            if number not in keep and 0 <= self.plan.buffers[number].last_phase <= phase:
                del self.buffers[number]
        self._shift_cache.clear()


def _holds_one_series(buffer: Buffer, value: Value) -> bool:
    """Return True if a buffer is exactly the series of one value, without margins."""
    return (
        buffer.extent == "series"
        and not buffer.steps_before
        and not buffer.steps_after
        and buffer.width == value.shape[-1]
    )
