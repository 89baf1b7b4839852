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
            constant = float(value.attributes[0])
            self.external[value.id] = (self.like.new_full((1,), constant), 0)
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
            carry = call.carry.get(name)
            steps_before = 0 if carry is None else len(carry)
            if carry is not None:
                series = torch.cat([carry.detach(), series])
            self.external[value.id] = (series, steps_before)

    def buffer(self, buffer_id: int) -> Tensor:
        """Return the tensor of a buffer, allocated if necessary, its margins zeroed."""
        if buffer_id not in self.buffers:
            self.buffers[buffer_id] = self._allocate(self.plan.buffers[buffer_id])
        return self.buffers[buffer_id]

    def _allocate(self, buffer: Buffer) -> Tensor:
        steps, rows = self.call.steps, self.call.batch_size
        dtype = self.buffer_dtype(buffer)
        if buffer.extent in {"row", "step"}:
            return self.like.new_empty(rows, buffer.width, dtype=dtype)
        steps_before, steps_after = buffer.steps_before, buffer.steps_after
        tensor = self.like.new_empty(
            steps_before + steps + steps_after, rows, buffer.width, dtype=dtype
        )
        if steps_before:
            tensor[:steps_before].zero_()
        if steps_after:
            tensor[steps_before + steps :].zero_()
        return tensor

    def buffer_dtype(self, buffer: Buffer) -> torch.dtype:
        """Return the dtype that a buffer is stored in."""
        return self.like.dtype

    def fill_margins(self, value: Value) -> None:
        """Fill a state's margins: its carry in front, its initial value behind."""
        region = self.plan.regions[value.id]
        assert region is not None
        buffer, name = self.plan.buffers[region.buffer], str(value.attributes[0])
        columns = self.buffer(region.buffer)[..., region.offset : region.offset + value.shape[0]]
        carry = self.call.carry.get(name)
        if carry is not None and buffer.steps_before:
            columns[buffer.steps_before - len(carry) : buffer.steps_before].copy_(carry.detach())
        if buffer.steps_after and name in self.call.initial_values and carry is None:
            initial = self.boundaries.initial_value(name).detach()
            columns[buffer.steps_before + self.call.steps :].copy_(
                initial if initial.dim() == 2 else initial[-1:]
            )

    def bind(self, value_id: int, tensor: Tensor) -> None:
        """Bind a tensor to a value that has no buffer: per call, per row, or from outside."""
        self.external[value_id] = (tensor, 0)

    def output(self, value_id: int) -> Tensor:
        """Return the tensor to write a value to: (T, B, n), or (B, n) if a loop overwrites it."""
        return self._locate(value_id)[0]

    def _locate(self, value_id: int) -> tuple[Tensor, int]:
        region = self.plan.regions[value_id]
        assert region is not None, self.values[value_id]
        buffer = self.plan.buffers[region.buffer]
        tensor, width = self.buffer(region.buffer), self.values[value_id].shape[-1]
        if buffer.width != width:
            tensor = tensor[..., region.offset : region.offset + width]
        if buffer.extent != "series":
            return tensor, 0
        if buffer.steps_before or buffer.steps_after:
            return tensor[
                buffer.steps_before : buffer.steps_before + self.call.steps
            ], buffer.steps_before
        return tensor, 0

    def padded_series(self, value_id: int) -> tuple[Tensor, int]:
        """Return a value with its margins, and the number of steps before the first one."""
        if value_id in self.external:
            return self.external[value_id]
        region = self.plan.regions[value_id]
        assert region is not None, self.values[value_id]
        width = self.values[value_id].shape[-1]
        tensor = self.buffer(region.buffer)[..., region.offset : region.offset + width]
        return tensor, self.plan.buffers[region.buffer].steps_before

    def series(self, value_id: int) -> Tensor:
        """Return a value at all steps: (T, B, n); per call (n) or a matrix; per row (B, n)."""
        if value_id in self.external:
            tensor, steps_before = self.external[value_id]
            return tensor[steps_before:] if steps_before else tensor
        return self.output(value_id)

    def shifted_series(self, operand: Operand) -> Tensor:
        """Return an operand at all steps, shifted by its delay but not masked to segments."""
        if not operand.delay:
            return self.series(operand.value)
        padded, steps_before = self.padded_series(operand.value)
        steps = self.call.steps
        first = steps_before - operand.delay
        if first >= 0 and first + steps <= len(padded):
            return padded[first : first + steps]
        key = (operand.value, operand.delay)
        if key not in self._shift_cache:
            zeros_before = padded.new_zeros(max(0, -first), *padded.shape[1:])
            zeros_after = padded.new_zeros(max(0, first + steps - len(padded)), *padded.shape[1:])
            extended = torch.cat([zeros_before, padded, zeros_after])
            first = max(first, 0)
            self._shift_cache[key] = extended[first : first + steps]
        return self._shift_cache[key]

    def load(self, operand: Operand) -> Tensor:
        """Return an operand at all steps, masked to segments; shapes as in `series`."""
        value = self.values[operand.value]
        if not operand.delay:
            undelayed = self.series(operand.value)
            return (
                undelayed.expand(self.call.steps, *undelayed.shape)
                if value.rate == "row"
                else undelayed
            )
        series = self.shifted_series(operand)
        in_segment = self.segment_mask(operand)
        if in_segment is None:
            return series
        if not value.shape:
            return series.masked_fill(~in_segment.squeeze(-1), -1)
        return torch.where(in_segment, series, self.boundary_value(value))

    def segment_mask(self, operand: Operand) -> Tensor | None:
        """Return the mask (T, B, 1) of steps that read their own segment; None if all do."""
        has_boundary_value = self.values[operand.value].operation in BOUNDARY_VALUE_OPS
        has_carry = operand.value not in self.plan.dataflow.states_without_carry
        if not self.boundaries.may_cross_segment(
            operand.delay, has_boundary_value=has_boundary_value, has_carry=has_carry
        ):
            return None
        return self.boundaries.same_segment(operand.delay, has_carry=has_carry)

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
        region = self.plan.regions[value.id]
        assert region is not None
        target = self.plan.buffers[region.buffer]
        if target.id in self.buffers or not _holds_one_series(target, value):
            return
        source_buffers = [
            region.buffer for region in map(self.plan.regions.__getitem__, sources) if region
        ]
        for operand in value.operands:
            operand_region = self.plan.regions[operand.value]
            if (
                operand_region is None
                or operand.delay
                or source_buffers.count(operand_region.buffer) > 1
            ):
                continue
            candidate = self.plan.buffers[operand_region.buffer]
            if (
                candidate.id in last_uses.get(value.id, ())
                and candidate.id in self.buffers
                and _holds_one_series(candidate, self.values[operand.value])
                and not candidate.is_residual
                and candidate.last_phase == target.first_phase
                and candidate.width == target.width
            ):
                self.buffers[target.id] = self.buffers[candidate.id]
                return

    def free(self, buffer_ids: Sequence[int], phase: int) -> None:
        """Free buffers whose last phase is this one."""
        for buffer_id in buffer_ids:
            if self.plan.buffers[buffer_id].last_phase == phase:
                self.buffers.pop(buffer_id, None)

    def free_after(self, phase: int, kept_ids: frozenset[int]) -> None:
        """Free all buffers that no later phase reads, but for `keep`."""
        for buffer_id in list(self.buffers):
            if buffer_id not in kept_ids and 0 <= self.plan.buffers[buffer_id].last_phase <= phase:
                del self.buffers[buffer_id]
        self._shift_cache.clear()


def _holds_one_series(buffer: Buffer, value: Value) -> bool:
    """Return True if a buffer is exactly the series of one value, without margins."""
    return (
        buffer.extent == "series"
        and not buffer.steps_before
        and not buffer.steps_after
        and buffer.width == value.shape[-1]
    )
