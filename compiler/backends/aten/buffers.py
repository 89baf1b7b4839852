"""The tensors of one execution of a plan: where each value is, now and at other times."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from rnnc.compiler.calls.sequence_masks import Boundaries
from rnnc.compiler.ir.dataflow import BOUNDED, Read, Value
from rnnc.compiler.schedule.plan import Buffer, Plan
from rnnc.operators.semantics.call import Call


class Memory:
    """Holds what is known, and hands out views of it.

    Buffers are made when they are first written to; those that a phase was the last to read are
    let go after it.
    """

    def __init__(self, plan: Plan, call: Call, like: Tensor, boundaries: Boundaries) -> None:
        self.plan, self.call, self.like, self.boundaries = plan, call, like, boundaries
        self.values = plan.flow.values
        self.buffers: dict[int, Tensor] = {}
        self.given: dict[int, tuple[Tensor, int]] = {}
        self.early: dict[str, Tensor] = {}
        """Of the gradient of what is carried on, what belongs to the history."""
        self.replaced: dict[str, Tensor] = {}
        """Of the gradient of what is carried on, what belongs to initial values."""
        self._shifted: dict[tuple[int, int], Tensor] = {}
        for value in self.values:
            self._give(value)

    def _give(self, value: Value) -> None:
        call, name = self.call, str(value.attributes[0]) if value.attributes else ""
        if value.operation == "parameter":
            self.given[value.number] = (call.parameters[name].detach(), 0)
        elif value.operation == "constant":
            number = float(value.attributes[0])
            self.given[value.number] = (self.like.new_full((1,), number), 0)
        elif value.operation == "mask":
            self.given[value.number] = (call.masks[int(value.attributes[0])], 0)
        elif value.operation == "present":
            first, last = (int(end) for end in value.attributes)
            self.given[value.number] = (self.boundaries.present(first, last).to(self.like.dtype), 0)
        elif value.operation == "input":
            series = self.boundaries.padded(call.inputs[name].detach())
            history = call.history.get(name)
            before = 0 if history is None else len(history)
            if history is not None:
                series = torch.cat([history.detach(), series])
            self.given[value.number] = (series, before)

    def buffer(self, number: int) -> Tensor:
        """The tensor of a buffer, its margins filled."""
        if number not in self.buffers:
            self.buffers[number] = self._make(self.plan.buffers[number])
        return self.buffers[number]

    def _make(self, buffer: Buffer) -> Tensor:
        steps, rows = self.call.steps, self.call.rows
        dtype = self.dtype_of(buffer)
        if buffer.extent in {"row", "step"}:
            return self.like.new_empty(rows, buffer.width, dtype=dtype)
        before, after = buffer.before, buffer.after
        tensor = self.like.new_empty(before + steps + after, rows, buffer.width, dtype=dtype)
        if before:
            tensor[:before].zero_()
        if after:
            tensor[before + steps :].zero_()
        return tensor

    def dtype_of(self, buffer: Buffer) -> torch.dtype:
        """The type of a buffer's numbers."""
        return self.like.dtype

    def fill_margins(self, value: Value) -> None:
        """Put a state's history in front of it, and what is beyond the end behind it."""
        place = self.plan.places[value.number]
        assert place is not None
        buffer, name = self.plan.buffers[place.buffer], str(value.attributes[0])
        columns = self.buffer(place.buffer)[..., place.start : place.start + value.shape[0]]
        history = self.call.history.get(name)
        if history is not None and buffer.before:
            columns[buffer.before - len(history) : buffer.before].copy_(history.detach())
        if buffer.after and name in self.call.initial and history is None:
            initial = self.boundaries.initial(name).detach()
            columns[buffer.before + self.call.steps :].copy_(
                initial if initial.dim() == 2 else initial[-1:]
            )

    def put(self, number: int, tensor: Tensor) -> None:
        """Set a value that is computed once a call, once a row, or comes from outside."""
        self.given[number] = (tensor, 0)

    def out(self, number: int) -> Tensor:
        """Where a value is to be written: (T, B, n), or (B, n) for what a loop overwrites."""
        return self._placed(number)[0]

    def _placed(self, number: int) -> tuple[Tensor, int]:
        place = self.plan.places[number]
        assert place is not None, self.values[number]
        buffer = self.plan.buffers[place.buffer]
        tensor, width = self.buffer(place.buffer), self.values[number].shape[-1]
        if buffer.width != width:
            tensor = tensor[..., place.start : place.start + width]
        if buffer.extent != "series":
            return tensor, 0
        if buffer.before or buffer.after:
            return tensor[buffer.before : buffer.before + self.call.steps], buffer.before
        return tensor, 0

    def line(self, number: int) -> tuple[Tensor, int]:
        """A value with its margins, and how many steps stand before the first one."""
        if number in self.given:
            return self.given[number]
        place = self.plan.places[number]
        assert place is not None, self.values[number]
        width = self.values[number].shape[-1]
        tensor = self.buffer(place.buffer)[..., place.start : place.start + width]
        return tensor, self.plan.buffers[place.buffer].before

    def now(self, number: int) -> Tensor:
        """A value at all steps: (T, B, n); (n) or a matrix for one of a call; (B, n) of a row."""
        if number in self.given:
            tensor, before = self.given[number]
            return tensor[before:] if before else tensor
        return self.out(number)

    def shifted(self, read: Read) -> Tensor:
        """What a read sees at all steps, the ends of segments not yet minded."""
        if not read.delay:
            return self.now(read.value)
        line, before = self.line(read.value)
        steps = self.call.steps
        first = before - read.delay
        if first >= 0 and first + steps <= len(line):
            return line[first : first + steps]
        key = (read.value, read.delay)
        if key not in self._shifted:
            front = line.new_zeros(max(0, -first), *line.shape[1:])
            back = line.new_zeros(max(0, first + steps - len(line)), *line.shape[1:])
            whole = torch.cat([front, line, back])
            first = max(first, 0)
            self._shifted[key] = whole[first : first + steps]
        return self._shifted[key]

    def read(self, read: Read) -> Tensor:
        """What a read sees at all steps: (T, B, n), or (n) or a matrix for what is of the call."""
        value = self.values[read.value]
        if not read.delay:
            found = self.now(read.value)
            return found.expand(self.call.steps, *found.shape) if value.rate == "row" else found
        series = self.shifted(read)
        linked = self.linked(read)
        if linked is None:
            return series
        if not value.shape:
            return series.masked_fill(~linked.squeeze(-1), -1)
        return torch.where(linked, series, self.outside(value))

    def linked(self, read: Read) -> Tensor | None:
        """(T, B, 1): where a read is of its reader's own segment; None where all are."""
        bounded = self.values[read.value].operation in BOUNDED
        past = read.value not in self.plan.flow.pastless
        if not self.boundaries.cuts(read.delay, bounded=bounded, past=past):
            return None
        return self.boundaries.linked(read.delay, past=past)

    def outside(self, value: Value) -> Tensor:
        """What lies outside of a segment: broadcasts with (T, B, n)."""
        name = str(value.attributes[0]) if value.attributes else ""
        if value.operation == "state":
            return self.boundaries.initial(name).detach()
        return self.like.new_zeros(())

    def reuse(self, value: Value, uses: dict[int, list[int]], reads: Sequence[int]) -> None:
        """Let an entrywise value overwrite an operand that nothing else will read.

        reads: all values that are read while it is computed.
        """
        place = self.plan.places[value.number]
        assert place is not None
        mine = self.plan.buffers[place.buffer]
        if mine.number in self.buffers or not _is_plain(mine, value):
            return
        used = [place.buffer for place in map(self.plan.places.__getitem__, reads) if place]
        for read in value.operands:
            there = self.plan.places[read.value]
            if there is None or read.delay or used.count(there.buffer) > 1:
                continue
            theirs = self.plan.buffers[there.buffer]
            if (
                theirs.number in uses.get(value.number, ())
                and theirs.number in self.buffers
                and _is_plain(theirs, self.values[read.value])
                and not theirs.saved
                and theirs.last == mine.first
                and theirs.width == mine.width
            ):
                self.buffers[mine.number] = self.buffers[theirs.number]
                return

    def drop(self, numbers: Sequence[int], phase: int) -> None:
        """Let go of buffers that were read for the last time."""
        for number in numbers:
            if self.plan.buffers[number].last == phase:
                self.buffers.pop(number, None)

    def release(self, phase: int, keep: frozenset[int]) -> None:
        """Let go of the buffers that no phase after this one reads."""
        for number in list(self.buffers):
            if number not in keep and 0 <= self.plan.buffers[number].last <= phase:
                del self.buffers[number]
        self._shifted.clear()


def _is_plain(buffer: Buffer, value: Value) -> bool:
    """Whether a buffer is one value's series and nothing else."""
    return (
        buffer.extent == "series"
        and not buffer.before
        and not buffer.after
        and buffer.width == value.shape[-1]
    )
