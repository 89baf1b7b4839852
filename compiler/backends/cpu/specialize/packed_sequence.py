"""Packed sequences, as `torch.nn.utils.rnn.PackedSequence`: step by step the rows that still run.

Longer sequences come first, and nothing is computed for steps behind a sequence's end. An operand
of another step is found by an index of rows; resets, the carry and both directions of time differ
in this index alone.
"""

from __future__ import annotations

from functools import cached_property, lru_cache

import torch
from torch import Tensor

from rnnc.compiler.backends.cpu.schedule.frame_layout import RowIndexKey


class PackedSequence:
    """The packed rows of one call.

    A variable that is read at other steps lies as [carry, all rows, boundary values]: row 0 is the
    first row of the first step, rows of the carry are negative (−B + b is one step before), and
    from row `row_count` on there is a boundary value for each sequence, which it reads outside of
    its segment; for drawn initial values then one row for each reset.

    input_steps: T as given; `steps` is the greatest length.
    sorted_indices: (B,), the sequence at each place of a packed step; None if lengths are equal.
    step_offsets: (steps + 1,), the first row of each step, and the end.
    """

    def __init__(
        self,
        steps: int,
        batch_size: int,
        lengths: Tensor | None = None,
        resets: Tensor | None = None,
    ) -> None:
        self.input_steps, self.batch_size = steps, batch_size
        self.sorted_indices: Tensor | None = None
        if lengths is not None:
            self.sorted_indices = torch.argsort(lengths, descending=True, stable=True)
            lengths = lengths[self.sorted_indices]
        self.lengths = torch.full((batch_size,), steps) if lengths is None else lengths
        self.steps = int(self.lengths.max()) if batch_size else 0
        step = torch.arange(self.steps).unsqueeze(-1)
        runs = step < self.lengths
        self.step_offsets = torch.zeros(self.steps + 1, dtype=torch.int64)
        self.step_offsets[1:] = runs.sum(1).cumsum(0)
        self.row_count = int(self.step_offsets[-1])
        batch_index = torch.arange(batch_size).expand(self.steps, batch_size)
        self.step_of_row = step.expand(self.steps, batch_size)[runs]
        self.batch_index = batch_index[runs]
        self.batch_index_int32 = self.batch_index.to(torch.int32)
        self.resets: Tensor | None = None
        if resets is not None:
            self.resets = self.sort_batch(resets, 1)[: self.steps]
        self._row_indices: dict[RowIndexKey, Tensor] = {}

    @property
    def is_dense(self) -> bool:
        """True where packed rows are the given (T, B, …)."""
        return self.sorted_indices is None

    @property
    def is_uniform(self) -> bool:
        """True where there are neither lengths nor resets."""
        return self.sorted_indices is None and self.resets is None

    @cached_property
    def input_rows(self) -> Tensor:
        """(N,): the row of the given (T · B) that each packed row is."""
        batch_index = self.batch_index
        if self.sorted_indices is not None:
            batch_index = self.sorted_indices[batch_index]
        return self.step_of_row * self.batch_size + batch_index

    @cached_property
    def _segment_starts(self) -> Tensor:
        """(T, B): the first step of each step's segment; far back for the first segment."""
        assert self.resets is not None
        step = torch.arange(self.steps).unsqueeze(-1).expand(self.steps, self.batch_size)
        starts = torch.where(self.resets, step, torch.full_like(step, -(2**40)))
        return starts.cummax(0).values if self.steps else starts

    @cached_property
    def _segment_ends(self) -> Tensor:
        """(T, B): the first step of the next segment, or the sequence's end."""
        end = self.lengths.expand(self.steps, self.batch_size)
        if self.resets is None or not self.steps:
            return end
        step = torch.arange(self.steps).unsqueeze(-1).expand(self.steps, self.batch_size)
        starts = torch.where(self.resets, step, torch.full_like(step, 2**40))
        later = torch.cat([starts[1:], torch.full_like(starts[:1], 2**40)])
        return torch.minimum(later.flip(0).cummin(0).values.flip(0), end)

    def segment_bounds(self, step: Tensor, batch_index: Tensor) -> tuple[Tensor, Tensor]:
        """Return the first step of each step's segment (below 0: before), and its end."""
        end = self._segment_ends[step, batch_index]
        if self.resets is None:
            return torch.full_like(end, -1), end
        return self._segment_starts[step, batch_index], end

    def packed_row(self, step: Tensor, batch_index: Tensor) -> Tensor:
        """Return the packed rows of some steps; they are negative in the carry."""
        inside = self.step_offsets[step.clamp(0, max(self.steps - 1, 0))] + batch_index
        return torch.where(step < 0, step * self.batch_size + batch_index, inside)

    @cached_property
    def reset_positions(self) -> Tensor:
        """Rows of (T · B) with a reset, in the order of steps: there values are drawn again."""
        assert self.resets is not None
        return self.resets.flatten().nonzero().squeeze(-1)

    @cached_property
    def _latest_draw(self) -> Tensor:
        """(T, B): the boundary row that the latest reset has drawn, or that of the beginning."""
        first = self.row_count + torch.arange(self.batch_size)
        if self.resets is None:
            return first.expand(self.steps, self.batch_size)
        draws = torch.full((self.steps * self.batch_size,), -1)
        draws[self.reset_positions] = (
            self.row_count + self.batch_size + torch.arange(len(self.reset_positions))
        )
        if not self.steps:
            return draws.view(0, self.batch_size)
        latest = draws.view(self.steps, self.batch_size).cummax(0).values
        return torch.where(latest < 0, first, latest)

    def row_index(self, key: RowIndexKey) -> Tensor:
        """Return (N,) int32: the row that each packed row reads.

        Specializations keep the address of the tensor and threads share the sequence, so that the
        first tensor that is stored stays.
        """
        index = self._row_indices.get(key)
        if index is None:
            index = self._row_indices.setdefault(key, self._compute_row_index(*key).to(torch.int32))
        return index

    def _compute_row_index(self, delay: int, boundary: str, has_carry: bool) -> Tensor:
        source = self.step_of_row - delay
        in_segment = source < self._segment_ends[self.step_of_row, self.batch_index]
        if self.resets is not None:
            in_segment &= source >= self._segment_starts[self.step_of_row, self.batch_index]
        before = source < 0
        inside = self.step_offsets[source.clamp(0, max(self.steps - 1, 0))] + self.batch_index
        carry = source * self.batch_size + self.batch_index
        if not has_carry:
            in_segment &= ~before
        if boundary == "zero":
            return torch.where(in_segment, inside, self.row_count)
        boundary_row = self.row_count + self.batch_index
        if boundary == "drawn":
            boundary_row = self._latest_draw[self.step_of_row, self.batch_index]
        return torch.where(in_segment, torch.where(before, carry, inside), boundary_row)

    def carry_rows(self, count: int, boundary: str) -> Tensor:
        """Return (count, B): the rows of each sequence's last steps, which are carried on.

        boundary: as in `RowIndexKey`; read where a segment is shorter than the carry.
        """
        source = torch.arange(count).unsqueeze(-1) - count + self.lengths
        batch_index = torch.arange(self.batch_size)
        inside = self.step_offsets[source.clamp(0, max(self.steps - 1, 0))] + batch_index
        rows = torch.where(source < 0, source * self.batch_size + batch_index, inside)
        if self.resets is None or not self.steps:
            return rows
        last = (self.lengths - 1).clamp(min=0)
        start = self._segment_starts[last, batch_index]
        in_segment = (source >= start) | (self.lengths == 0)
        boundary_rows = self.row_count + batch_index
        if boundary == "drawn":
            boundary_rows = self._latest_draw[last, batch_index]
        return torch.where(in_segment, rows, boundary_rows.expand_as(rows))

    @cached_property
    def last_rows(self) -> Tensor:
        """(B,): the row of each sequence's last step; 0 where it has no steps."""
        batch_index = torch.arange(self.batch_size)
        if not self.steps:
            return torch.zeros_like(batch_index)
        rows = self.step_offsets[(self.lengths - 1).clamp(min=0)] + batch_index
        return torch.where(self.lengths > 0, rows, torch.zeros_like(rows))

    def sort_batch(self, tensor: Tensor, axis: int) -> Tensor:
        """Bring the batch axis of a tensor into the order of packed rows."""
        if self.sorted_indices is None:
            return tensor
        return tensor.index_select(axis, self.sorted_indices)

    @cached_property
    def _unsorted_indices(self) -> Tensor:
        assert self.sorted_indices is not None
        return torch.argsort(self.sorted_indices)

    def unsort_batch(self, tensor: Tensor, axis: int) -> Tensor:
        """Bring the batch axis of a tensor back into the given order."""
        if self.sorted_indices is None:
            return tensor
        return tensor.index_select(axis, self._unsorted_indices)

    def pack(self, series: Tensor) -> Tensor:
        """Pack (T, B, …) to (N, …)."""
        flat = series.reshape(-1, *series.shape[2:])
        return flat if self.is_dense else flat.index_select(0, self.input_rows)

    def unpack(self, packed: Tensor) -> Tensor:
        """Unpack (N, …) to (T, B, …), zero behind the end of a sequence."""
        if self.is_dense:
            return packed.reshape(self.input_steps, self.batch_size, *packed.shape[1:])
        series = packed.new_zeros(self.input_steps * self.batch_size, *packed.shape[1:])
        series.index_copy_(0, self.input_rows, packed)
        return series.view(self.input_steps, self.batch_size, *packed.shape[1:])


@lru_cache(maxsize=16)
def dense_sequence(steps: int, batch_size: int) -> PackedSequence:
    """Return the sequence of a call without lengths and resets; one for all such calls."""
    return PackedSequence(steps, batch_size)
