"""The rows of a call, packed: step by step those that still live, longer sequences first.

Nothing is computed for a step that a row does not have. Which row a row reads at another step is a
table: resets, histories and both directions of time are but different tables.
"""

from __future__ import annotations

from functools import cached_property, lru_cache

import torch
from torch import Tensor

from rnnc.compiler.backends.cpu.schedule.frame_layout import RowIndexKey


class PackedSequence:
    """The packed rows of one call.

    A variable that is read at other steps lies as [history, all rows, what is outside]: its row 0
    is the first row of the first step, history has negative numbers (−B + b is one step before),
    and from row `row_count` on there is for each place in the batch what it reads outside of its
    segment; for drawn initial values then one row for each reset.
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
        alive = step < self.lengths
        self.step_offsets = torch.zeros(self.steps + 1, dtype=torch.int64)
        self.step_offsets[1:] = alive.sum(1).cumsum(0)
        self.row_count = int(self.step_offsets[-1])
        place = torch.arange(batch_size).expand(self.steps, batch_size)
        self.step_of_row = step.expand(self.steps, batch_size)[alive]
        self.batch_index = place[alive]
        self.batch_index_int32 = self.batch_index.to(torch.int32)
        self.resets: Tensor | None = None
        if resets is not None:
            sorted_resets = (
                resets if self.sorted_indices is None else resets[:, self.sorted_indices]
            )
            self.resets = sorted_resets[: self.steps]
        self._row_indices: dict[RowIndexKey, Tensor] = {}

    @property
    def is_dense(self) -> bool:
        """Whether packed rows are (T, B, …) as they were given."""
        return self.sorted_indices is None

    @property
    def is_uniform(self) -> bool:
        """Whether there are neither lengths nor resets."""
        return self.sorted_indices is None and self.resets is None

    @cached_property
    def input_rows(self) -> Tensor:
        """For each packed row its place in (T · B) as given."""
        place = (
            self.batch_index
            if self.sorted_indices is None
            else self.sorted_indices[self.batch_index]
        )
        return self.step_of_row * self.batch_size + place

    @cached_property
    def _segment_starts(self) -> Tensor:
        """(T, B): the step at which the segment of a step begins; far back for the first one."""
        assert self.resets is not None
        step = torch.arange(self.steps).unsqueeze(-1).expand(self.steps, self.batch_size)
        hit = torch.where(self.resets, step, torch.full_like(step, -(2**40)))
        return hit.cummax(0).values if self.steps else hit

    @cached_property
    def _segment_ends(self) -> Tensor:
        """(T, B): the step at which the next segment begins, or the row's end."""
        end = self.lengths.expand(self.steps, self.batch_size)
        if self.resets is None or not self.steps:
            return end
        step = torch.arange(self.steps).unsqueeze(-1).expand(self.steps, self.batch_size)
        after = torch.where(self.resets, step, torch.full_like(step, 2**40))
        after = torch.cat([after[1:], torch.full_like(after[:1], 2**40)])
        return torch.minimum(after.flip(0).cummin(0).values.flip(0), end)

    def segment_bounds(self, step: Tensor, batch_index: Tensor) -> tuple[Tensor, Tensor]:
        """The first step of each step's segment (below 0: before), and the step after its last."""
        end = self._segment_ends[step, batch_index]
        start = (
            torch.full_like(end, -1)
            if self.resets is None
            else self._segment_starts[step, batch_index]
        )
        return start, end

    def packed_row(self, step: Tensor, batch_index: Tensor) -> Tensor:
        """The packed row of some steps, below 0 in the history."""
        inside = self.step_offsets[step.clamp(0, max(self.steps - 1, 0))] + batch_index
        return torch.where(step < 0, step * self.batch_size + batch_index, inside)

    @cached_property
    def reset_positions(self) -> Tensor:
        """The resets as places in (T · B), in an order by step: where values are drawn anew."""
        assert self.resets is not None
        return self.resets.flatten().nonzero().squeeze(-1)

    @cached_property
    def _latest_draw(self) -> Tensor:
        """(T, B): the row outside that the last reset has made, or that of the beginning."""
        first = self.row_count + torch.arange(self.batch_size)
        if self.resets is None:
            return first.expand(self.steps, self.batch_size)
        made = torch.full((self.steps * self.batch_size,), -1)
        made[self.reset_positions] = (
            self.row_count + self.batch_size + torch.arange(len(self.reset_positions))
        )
        if not self.steps:
            return made.view(0, self.batch_size)
        latest = made.view(self.steps, self.batch_size).cummax(0).values
        return torch.where(latest < 0, first, latest)

    def row_index(self, key: RowIndexKey) -> Tensor:
        """For each packed row the row that it reads, int32; the same tensor at every call.

        Generated code keeps its address, and threads share rows: the first table made stays.
        """
        found = self._row_indices.get(key)
        if found is None:
            found = self._row_indices.setdefault(key, self._compute_row_index(*key).to(torch.int32))
        return found

    def _compute_row_index(self, delay: int, outside: str, past: bool) -> Tensor:
        source = self.step_of_row - delay
        belongs = source < self._segment_ends[self.step_of_row, self.batch_index]
        if self.resets is not None:
            belongs &= source >= self._segment_starts[self.step_of_row, self.batch_index]
        before = source < 0
        inside = self.step_offsets[source.clamp(0, max(self.steps - 1, 0))] + self.batch_index
        history = source * self.batch_size + self.batch_index
        if not past:
            belongs &= ~before
        if outside == "zero":
            return torch.where(belongs, inside, self.row_count)
        beyond = self.row_count + self.batch_index
        if outside == "drawn":
            beyond = self._latest_draw[self.step_of_row, self.batch_index]
        return torch.where(belongs, torch.where(before, history, inside), beyond)

    def carry_rows(self, count: int, outside: str) -> Tensor:
        """(k, B): the rows of the last k values of each place, of what is carried on."""
        back = torch.arange(count).unsqueeze(-1) - count
        source = back + self.lengths
        last = (self.lengths - 1).clamp(min=0)
        place = torch.arange(self.batch_size)
        before = source < 0
        inside = self.step_offsets[source.clamp(0, max(self.steps - 1, 0))] + place
        found = torch.where(before, source * self.batch_size + place, inside)
        if self.resets is None or not self.steps:
            return found
        start = self._segment_starts[last, place]
        belongs = (source >= start) | (self.lengths == 0)
        beyond = self._latest_draw[last, place] if outside == "drawn" else self.row_count + place
        return torch.where(belongs, found, beyond.expand_as(found))

    @cached_property
    def last_rows(self) -> Tensor:
        """(B,): the row of each place's last step; 0 where it has none."""
        place = torch.arange(self.batch_size)
        if not self.steps:
            return torch.zeros_like(place)
        found = self.step_offsets[(self.lengths - 1).clamp(min=0)] + place
        return torch.where(self.lengths > 0, found, torch.zeros_like(found))

    def sort_batch(self, tensor: Tensor, axis: int) -> Tensor:
        """A tensor with its batch in the order of packed rows."""
        return (
            tensor
            if self.sorted_indices is None
            else tensor.index_select(axis, self.sorted_indices)
        )

    @cached_property
    def _unsorted_indices(self) -> Tensor:
        assert self.sorted_indices is not None
        return torch.argsort(self.sorted_indices)

    def unsort_batch(self, tensor: Tensor, axis: int) -> Tensor:
        """A tensor with its batch as it was given."""
        return (
            tensor
            if self.sorted_indices is None
            else tensor.index_select(axis, self._unsorted_indices)
        )

    def pack(self, series: Tensor) -> Tensor:
        """(T, B, …) -> its packed rows."""
        flat = series.reshape(-1, *series.shape[2:])
        return flat if self.is_dense else flat.index_select(0, self.input_rows)

    def unpack(self, packed: Tensor) -> Tensor:
        """Packed rows -> (T, B, …), zero where a row has ended."""
        if self.is_dense:
            return packed.reshape(self.input_steps, self.batch_size, *packed.shape[1:])
        whole = packed.new_zeros(self.input_steps * self.batch_size, *packed.shape[1:])
        whole.index_copy_(0, self.input_rows, packed)
        return whole.view(self.input_steps, self.batch_size, *packed.shape[1:])


@lru_cache(maxsize=16)
def dense_sequence(steps: int, batch_size: int) -> PackedSequence:
    """The rows of a call without lengths and resets."""
    return PackedSequence(steps, batch_size)
