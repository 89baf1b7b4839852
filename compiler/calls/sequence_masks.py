"""Masks of segments, lengths and windows over whole series; shared by all backends.

The same rules as `rnnc.operators.semantics.segments`, which applies them step by step.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from rnnc.compiler.ir.dataflow import may_cross_segment
from rnnc.operators.semantics.call import Call


class SequenceMasks:
    """Masks and boundary values of one call, computed when first needed."""

    def __init__(self, call: Call, like: Tensor) -> None:
        self.call, self.like = call, like
        device, steps, rows = like.device, call.steps, call.batch_size
        self.step_index = torch.arange(steps, device=device).unsqueeze(-1)
        full_lengths = torch.full((rows,), steps, device=device)
        self.lengths = full_lengths if call.lengths is None else call.lengths
        self.valid: Tensor | None = None
        """(T, B, 1): True where a row still has a step; None if all rows have T steps."""
        if call.lengths is not None:
            self.valid = (self.step_index < self.lengths).unsqueeze(-1)
        self._segment_bounds: tuple[Tensor, Tensor] | None = None
        self._segment_masks: dict[tuple[int, bool], Tensor] = {}
        self._initial_values: dict[str, Tensor] = {}
        self._window_masks: dict[tuple[int, int], Tensor] = {}

    def segment_bounds(self) -> tuple[Tensor, Tensor]:
        """Return (T, B) each: the first step of each step's segment, and the step after its last.

        The first is far below 0 where a segment continues from the carry.
        """
        if self._segment_bounds is None:
            call = self.call
            beyond_end = torch.full(
                (call.steps, call.batch_size), call.steps, device=self.like.device
            )
            # Before any carried step: the segment began in an earlier call.
            start, end = torch.full_like(beyond_end, -(2**62)), beyond_end
            if call.resets is not None and call.steps:
                reset_steps = torch.where(call.resets, self.step_index.expand_as(beyond_end), start)
                start = reset_steps.cummax(0).values
                next_resets = torch.where(
                    call.resets, self.step_index.expand_as(beyond_end), beyond_end
                )
                end = torch.cat([next_resets[1:], beyond_end[:1]]).flip(0).cummin(0).values.flip(0)
            self._segment_bounds = start, torch.minimum(end, self.lengths.expand_as(end))
        return self._segment_bounds

    def may_cross_segment(
        self, delay: int, *, has_boundary_value: bool, has_carry: bool = True
    ) -> bool:
        """Return True if an operand with this delay may read beyond its segment in this call."""
        resets, lengths = self.call.resets is not None, self.call.lengths is not None
        return may_cross_segment(
            delay,
            has_boundary_value=has_boundary_value,
            has_carry=has_carry,
            resets=resets,
            lengths=lengths,
        )

    def same_segment(self, delay: int, *, has_carry: bool = True) -> Tensor:
        """Return the mask (T, B, 1) of steps whose source, `delay` steps back, is in their segment.

        A negative delay reads ahead. Steps before the first one count as the same segment if no
        reset lies in between and the variable has a carry.
        """
        key = delay, has_carry or delay < 0
        if key not in self._segment_masks:
            start, end = self.segment_bounds()
            source = self.step_index - delay
            is_in_segment = (source >= (start if has_carry else start.clamp(min=0))) & (
                self.step_index < self.lengths
            )
            mask = source < end if delay < 0 else is_in_segment
            self._segment_masks[key] = mask.unsqueeze(-1)
        return self._segment_masks[key]

    def window_mask(self, first: int, last: int) -> Tensor:
        """Return the mask (T, B, L) of window rows, `first` to `last` steps back, in the segment.

        Unlike in `same_segment`, a row before the first step counts only if the segment is that
        old.
        """
        if (first, last) not in self._window_masks:
            start, end = self.segment_bounds()
            if self.call.age is not None:
                start = torch.where(start < 0, -self.call.age, start)
            delays = torch.arange(first, last - 1, -1, device=self.like.device)
            source = self.step_index.unsqueeze(-1) - delays
            mask = (source >= start.unsqueeze(-1)) & (source < end.unsqueeze(-1))
            self._window_masks[first, last] = mask
        return self._window_masks[first, last]

    def valid_window_mask(self, first: int, last: int) -> Tensor:
        """Return `window_mask`, False at steps past a row's length."""
        mask = self.window_mask(first, last)
        return mask if self.valid is None else mask & self.valid

    def reader_window_mask(self, first: int, last: int) -> Tensor:
        """Return the mask (T, B, L) of steps `last` to `first` ahead whose window has this one."""
        mask = self.valid_window_mask(first, last)
        window = first - last + 1
        front, back = max(0, -last), max(0, first)
        padded = F.pad(mask, (0, 0, 0, 0, front, back))
        # The step j after the earliest reader has this one as window row L − 1 − j.
        columns = [
            padded[front + last + j :][: len(mask), :, window - 1 - j] for j in range(window)
        ]
        return torch.stack(columns, -1)

    def initial_value(self, name: str) -> Tensor:
        """Return (B, n) or (T, B, n): a state's value before the segment of each step."""
        if name not in self._initial_values:
            call = self.call
            value = call.initial_values[name]
            reset_values = call.reset_values.get(name)
            if reset_values is not None and call.resets is not None and call.steps:
                start, _ = self.segment_bounds()
                index = start.clamp(min=0).unsqueeze(-1).expand_as(reset_values)
                is_reset = (start >= 0).unsqueeze(-1)
                value = torch.where(is_reset, reset_values.gather(0, index), value)
            self._initial_values[name] = value
        return self._initial_values[name]

    def repeat_last_step(self, series: Tensor) -> Tensor:
        """Repeat a row's last step past its length (zero for empty rows)."""
        if self.call.lengths is None or not self.call.steps:
            return series
        index = torch.minimum(self.step_index, (self.lengths - 1).clamp(min=0))
        empty = self.lengths == 0
        if series.dim() == 2:
            return series.gather(0, index).masked_fill(empty, -1)
        repeated = series.gather(0, index.unsqueeze(-1).expand_as(series))
        return repeated.masked_fill(empty.unsqueeze(-1), 0)

    def zero_padding(self, series: Tensor) -> Tensor:
        """Zero a series past each row's length."""
        if self.valid is None:
            return series
        return torch.where(self.valid, series, series.new_zeros(()))

    def last_step(self, series: Tensor) -> Tensor:
        """Return (B, m): each row's value at its last step; zero for rows without one."""
        if not self.call.steps:
            return series.new_zeros(self.call.batch_size, series.shape[-1])
        if self.valid is None:
            return series[-1].clone()
        last_values = series.gather(0, self._last_index(series.shape[-1]))[0]
        return torch.where((self.lengths > 0).unsqueeze(-1), last_values, series.new_zeros(()))

    def last_step_vjp(self, cotangent: Tensor) -> Tensor:
        """Return the vector-Jacobian product (T, B, m) of `last_step`."""
        steps, width = self.call.steps, cotangent.shape[-1]
        series = cotangent.new_zeros(steps, self.call.batch_size, width)
        if steps:
            has_steps = (self.lengths > 0).unsqueeze(-1)
            masked = torch.where(has_steps, cotangent, cotangent.new_zeros(()))
            series.scatter_(0, self._last_index(width), masked.unsqueeze(0))
        return series

    def _last_index(self, width: int) -> Tensor:
        index = (self.lengths - 1).clamp(min=0)
        return index.view(1, -1, 1).expand(1, -1, width)

    def next_carry(self, name: str, padded: Tensor) -> Tensor:
        """Return the last k values of each row, from (k + T, B, n) with the carry in front.

        Values before a reset are replaced by the variable's value outside of a segment.
        """
        count = len(padded) - self.call.steps
        if not self.call.steps:
            return padded.clone()
        if self.call.lengths is None and self.call.resets is None:
            return padded[-count:].clone()
        index = self._carry_index(count)
        values = padded.gather(0, _expand_index(index, padded))
        if self.call.resets is None:
            return values
        in_segment = self._carry_mask(count)
        if padded.dim() == 2:
            return values.masked_fill(~in_segment, -1)
        boundary = self._boundary_value_at_end(name, values)
        return torch.where(in_segment.unsqueeze(-1), values, boundary)

    def next_carry_vjp(self, cotangent: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the VJP of `next_carry`: of the carry, the steps, and the initial value."""
        count, rows, width = cotangent.shape
        padded = cotangent.new_zeros(count + self.call.steps, rows, width)
        initial_cotangent = cotangent.new_zeros(rows, width)
        if self.call.lengths is None and self.call.resets is None:
            padded[len(padded) - count :] = cotangent
            return padded[:count], padded[count:], initial_cotangent
        if not self.call.steps:
            padded.copy_(cotangent)
            return padded, padded[count:], initial_cotangent
        carried = cotangent
        if self.call.resets is not None:
            in_segment = self._carry_mask(count).unsqueeze(-1)
            carried = torch.where(in_segment, cotangent, cotangent.new_zeros(()))
            initial_cotangent = torch.where(in_segment, cotangent.new_zeros(()), cotangent).sum(0)
        padded.scatter_(0, _expand_index(self._carry_index(count), padded), carried)
        return padded[:count], padded[count:], initial_cotangent

    def _carry_index(self, count: int) -> Tensor:
        offsets = torch.arange(count, device=self.like.device).unsqueeze(-1)
        return offsets + self.lengths

    def _carry_mask(self, count: int) -> Tensor:
        start, _ = self.segment_bounds()
        end = (self.lengths - 1).clamp(min=0)
        first = start.gather(0, end.unsqueeze(0))
        return (self._carry_index(count) - count >= first) | (self.lengths == 0)

    def _boundary_value_at_end(self, name: str, values: Tensor) -> Tensor:
        if name not in self.call.initial_values:
            return torch.zeros_like(values)
        initial = self.initial_value(name)
        if initial.dim() == 3:
            initial = initial.gather(0, self._last_index(initial.shape[-1]))[0]
        return initial.expand_as(values)


def _expand_index(index: Tensor, padded: Tensor) -> Tensor:
    return index if padded.dim() == 2 else index.unsqueeze(-1).expand(-1, -1, padded.shape[-1])


def first_floating(tensors: Mapping[str, Tensor]) -> Tensor | None:
    """Return the first floating-point tensor; None if there is none."""
    return next((t for t in tensors.values() if t.is_floating_point()), None)


def like_of(call: Call) -> Tensor:
    """Return a tensor of the dtype and on the device that a call computes in."""
    for tensors in (call.parameters, call.initial_values, call.inputs):
        tensor = first_floating(tensors)
        if tensor is not None:
            return tensor
    device = next((t.device for t in call.inputs.values()), torch.device("cpu"))
    return torch.empty(0, device=device)
