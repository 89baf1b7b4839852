"""The one rule of time for whole series: which steps belong together, and what lies outside.

What `rnnc.operators.semantics.segments` does step by step; shared by all backends.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from rnnc.compiler.ir.dataflow import cuts
from rnnc.operators.semantics.call import Call


class Boundaries:
    """The segments of one call."""

    def __init__(self, call: Call, like: Tensor) -> None:
        self.call, self.like = call, like
        device, steps, rows = like.device, call.steps, call.rows
        self.step = torch.arange(steps, device=device).unsqueeze(-1)
        whole = torch.full((rows,), steps, device=device)
        self.lengths = whole if call.lengths is None else call.lengths
        self.alive: Tensor | None = None
        """(T, B, 1): whether a row still has a step; None where all have."""
        if call.lengths is not None:
            self.alive = (self.step < self.lengths).unsqueeze(-1)
        self._ends: tuple[Tensor, Tensor] | None = None
        self._linked: dict[tuple[int, bool], Tensor] = {}
        self._initial: dict[str, Tensor] = {}
        self._present: dict[tuple[int, int], Tensor] = {}

    def ends(self) -> tuple[Tensor, Tensor]:
        """(T, B) each: the first step of each step's segment, and the step after its last.

        The first is far below 0 where a segment goes on from the history.
        """
        if self._ends is None:
            call = self.call
            far = torch.full((call.steps, call.rows), call.steps, device=self.like.device)
            # Further back than any history: a segment that began in an earlier call.
            start, end = torch.full_like(far, -(2**62)), far
            if call.resets is not None and call.steps:
                hit = torch.where(call.resets, self.step.expand_as(far), start)
                start = hit.cummax(0).values
                after = torch.where(call.resets, self.step.expand_as(far), far)
                end = torch.cat([after[1:], far[:1]]).flip(0).cummin(0).values.flip(0)
            self._ends = start, torch.minimum(end, self.lengths.expand_as(end))
        return self._ends

    def cuts(self, delay: int, *, bounded: bool, past: bool = True) -> bool:
        """`flow.cuts`, for this call."""
        resets, lengths = self.call.resets is not None, self.call.lengths is not None
        return cuts(delay, bounded=bounded, past=past, resets=resets, lengths=lengths)

    def linked(self, delay: int, *, past: bool = True) -> Tensor:
        """(T, B, 1): whether the step `delay` ago (ahead, below 0) is of the same segment.

        Steps before the first one count as such where no reset is between, and there is a past.
        """
        key = delay, past or delay < 0
        if key not in self._linked:
            start, end = self.ends()
            source = self.step - delay
            after = (source >= (start if past else start.clamp(min=0))) & (self.step < self.lengths)
            linked = source < end if delay < 0 else after
            self._linked[key] = linked.unsqueeze(-1)
        return self._linked[key]

    def present(self, first: int, last: int) -> Tensor:
        """(T, B, L): whether the step that many steps ago, `first` to `last`, is of this segment.

        Unlike what is `linked`, one before the first step counts only if the segment is that old.
        """
        if (first, last) not in self._present:
            start, end = self.ends()
            if self.call.age is not None:
                start = torch.where(start < 0, -self.call.age, start)
            back = torch.arange(first, last - 1, -1, device=self.like.device)
            source = self.step.unsqueeze(-1) - back
            belongs = (source >= start.unsqueeze(-1)) & (source < end.unsqueeze(-1))
            self._present[first, last] = belongs
        return self._present[first, last]

    def looking(self, first: int, last: int) -> Tensor:
        """(T, B, L): which rows of its window a step sees that its row of the batch still has."""
        present = self.present(first, last)
        return present if self.alive is None else present & self.alive

    def readers(self, first: int, last: int) -> Tensor:
        """(T, B, L): of the steps `last` to `first` ahead, whether their window has this step."""
        present = self.looking(first, last)
        rows = first - last + 1
        front, back = max(0, -last), max(0, first)
        line = F.pad(present, (0, 0, 0, 0, front, back))
        # The step j after the earliest reader has this one as its row L − 1 − j.
        at = [line[front + last + j :][: len(present), :, rows - 1 - j] for j in range(rows)]
        return torch.stack(at, -1)

    def initial(self, name: str) -> Tensor:
        """(B, n) or (T, B, n): what a state is before the segment of each step."""
        if name not in self._initial:
            call = self.call
            value = call.initial[name]
            drawn = call.drawn.get(name)
            if drawn is not None and call.resets is not None and call.steps:
                start, _ = self.ends()
                index = start.clamp(min=0).unsqueeze(-1).expand_as(drawn)
                fresh = (start >= 0).unsqueeze(-1)
                value = torch.where(fresh, drawn.gather(0, index), value)
            self._initial[name] = value
        return self._initial[name]

    def padded(self, series: Tensor) -> Tensor:
        """An input whose steps past a row's length repeat its last one (zero for empty rows)."""
        if self.call.lengths is None or not self.call.steps:
            return series
        index = torch.minimum(self.step, (self.lengths - 1).clamp(min=0))
        empty = self.lengths == 0
        if series.dim() == 2:
            return series.gather(0, index).masked_fill(empty, -1)
        found = series.gather(0, index.unsqueeze(-1).expand_as(series))
        return found.masked_fill(empty.unsqueeze(-1), 0)

    def shown(self, series: Tensor) -> Tensor:
        """What counts of a series (an output, the terms of a sum): zero past a row's length."""
        if self.alive is None:
            return series
        return torch.where(self.alive, series, series.new_zeros(()))

    def last(self, series: Tensor) -> Tensor:
        """(B, m): each row's value at its last step; zero for rows without any."""
        if not self.call.steps:
            return series.new_zeros(self.call.rows, series.shape[-1])
        if self.alive is None:
            return series[-1].clone()
        chosen = series.gather(0, self._last_index(series.shape[-1]))[0]
        return torch.where((self.lengths > 0).unsqueeze(-1), chosen, series.new_zeros(()))

    def before_last(self, gradient: Tensor) -> Tensor:
        """(T, B, m): the gradient of `last`, back at the steps that it was taken from."""
        steps, width = self.call.steps, gradient.shape[-1]
        series = gradient.new_zeros(steps, self.call.rows, width)
        if steps:
            alive = (self.lengths > 0).unsqueeze(-1)
            kept = torch.where(alive, gradient, gradient.new_zeros(()))
            series.scatter_(0, self._last_index(width), kept.unsqueeze(0))
        return series

    def _last_index(self, width: int) -> Tensor:
        index = (self.lengths - 1).clamp(min=0)
        return index.view(1, -1, 1).expand(1, -1, width)

    def history_after(self, name: str, line: Tensor) -> Tensor:
        """The last k values of a variable in each row, from (k + T, B, n) with history in front.

        Those before a reset are already replaced by what lies outside of the segment.
        """
        keep = len(line) - self.call.steps
        if not self.call.steps:
            return line.clone()
        if self.call.lengths is None and self.call.resets is None:
            return line[-keep:].clone()
        index = self._kept_index(keep)
        values = line.gather(0, _wide(index, line))
        if self.call.resets is None:
            return values
        belongs = self._kept(keep)
        if line.dim() == 2:
            return values.masked_fill(~belongs, -1)
        outside = self._outside_at_end(name, values)
        return torch.where(belongs.unsqueeze(-1), values, outside)

    def before_history(self, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The gradient of `history_after`: (k + T, B, n) of the line, (B, n) of the initial."""
        keep, rows, width = gradient.shape
        line = gradient.new_zeros(keep + self.call.steps, rows, width)
        nothing = gradient.new_zeros(rows, width)
        if self.call.lengths is None and self.call.resets is None:
            line[len(line) - keep :] = gradient
            return line[:keep], line[keep:], nothing
        if not self.call.steps:
            line.copy_(gradient)
            return line, line[keep:], nothing
        kept = gradient
        if self.call.resets is not None:
            belongs = self._kept(keep).unsqueeze(-1)
            kept = torch.where(belongs, gradient, gradient.new_zeros(()))
            nothing = torch.where(belongs, gradient.new_zeros(()), gradient).sum(0)
        line.scatter_(0, _wide(self._kept_index(keep), line), kept)
        return line[:keep], line[keep:], nothing

    def _kept_index(self, keep: int) -> Tensor:
        back = torch.arange(keep, device=self.like.device).unsqueeze(-1)
        return back + self.lengths

    def _kept(self, keep: int) -> Tensor:
        start, _ = self.ends()
        end = (self.lengths - 1).clamp(min=0)
        first = start.gather(0, end.unsqueeze(0))
        return (self._kept_index(keep) - keep >= first) | (self.lengths == 0)

    def _outside_at_end(self, name: str, values: Tensor) -> Tensor:
        if name not in self.call.initial:
            return torch.zeros_like(values)
        initial = self.initial(name)
        if initial.dim() == 3:
            initial = initial.gather(0, self._last_index(initial.shape[-1]))[0]
        return initial.expand_as(values)


def _wide(index: Tensor, line: Tensor) -> Tensor:
    return index if line.dim() == 2 else index.unsqueeze(-1).expand(-1, -1, line.shape[-1])


def floating(tensors: Mapping[str, Tensor]) -> Tensor | None:
    """The first tensor of real numbers."""
    return next((t for t in tensors.values() if t.is_floating_point()), None)


def like_of(call: Call) -> Tensor:
    """A tensor of the dtype and device that a call computes in."""
    for tensors in (call.parameters, call.initial, call.inputs):
        found = floating(tensors)
        if found is not None:
            return found
    device = next((t.device for t in call.inputs.values()), torch.device("cpu"))
    return torch.empty(0, device=device)
