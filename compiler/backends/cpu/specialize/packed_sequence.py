"""The rows of a call, packed: step by step those that still live, longer sequences first.

Nothing is computed for a step that a row does not have. Which row a row reads at another step is a
table: resets, histories and both directions of time are but different tables.
"""

from __future__ import annotations

from functools import cached_property, lru_cache

import torch
from torch import Tensor

from rnnc.compiler.backends.cpu.schedule.frame_layout import IndexKey


class Rows:
    """The packed rows of one call.

    A variable that is read at other steps lies as [history, all rows, what is outside]: its row 0
    is the first row of the first step, history has negative numbers (−B + b is one step before),
    and from row `total` on there is for each place in the batch what it reads outside of its
    segment; for drawn initial values then one row for each reset.
    """

    def __init__(
        self, steps: int, rows: int, lengths: Tensor | None = None, resets: Tensor | None = None
    ) -> None:
        self.given_steps, self.rows = steps, rows
        self.order: Tensor | None = None
        if lengths is not None:
            self.order = torch.argsort(lengths, descending=True, stable=True)
            lengths = lengths[self.order]
        self.lengths = torch.full((rows,), steps) if lengths is None else lengths
        self.steps = int(self.lengths.max()) if rows else 0
        step = torch.arange(self.steps).unsqueeze(-1)
        alive = step < self.lengths
        self.offset = torch.zeros(self.steps + 1, dtype=torch.int64)
        self.offset[1:] = alive.sum(1).cumsum(0)
        self.total = int(self.offset[-1])
        place = torch.arange(rows).expand(self.steps, rows)
        self.step_of = step.expand(self.steps, rows)[alive]
        self.place_of = place[alive]
        self.row_of = self.place_of.to(torch.int32)
        self.resets: Tensor | None = None
        if resets is not None:
            sorted_resets = resets if self.order is None else resets[:, self.order]
            self.resets = sorted_resets[: self.steps]
        self._indices: dict[IndexKey, Tensor] = {}

    @property
    def is_dense(self) -> bool:
        """Whether packed rows are (T, B, …) as they were given."""
        return self.order is None

    @property
    def is_plain(self) -> bool:
        """Whether there are neither lengths nor resets."""
        return self.order is None and self.resets is None

    @cached_property
    def origin(self) -> Tensor:
        """For each packed row its place in (T · B) as given."""
        place = self.place_of if self.order is None else self.order[self.place_of]
        return self.step_of * self.rows + place

    @cached_property
    def _starts(self) -> Tensor:
        """(T, B): the step at which the segment of a step begins; far back for the first one."""
        assert self.resets is not None
        step = torch.arange(self.steps).unsqueeze(-1).expand(self.steps, self.rows)
        hit = torch.where(self.resets, step, torch.full_like(step, -(2**40)))
        return hit.cummax(0).values if self.steps else hit

    @cached_property
    def _ends(self) -> Tensor:
        """(T, B): the step at which the next segment begins, or the row's end."""
        end = self.lengths.expand(self.steps, self.rows)
        if self.resets is None or not self.steps:
            return end
        step = torch.arange(self.steps).unsqueeze(-1).expand(self.steps, self.rows)
        after = torch.where(self.resets, step, torch.full_like(step, 2**40))
        after = torch.cat([after[1:], torch.full_like(after[:1], 2**40)])
        return torch.minimum(after.flip(0).cummin(0).values.flip(0), end)

    def segment(self, step: Tensor, place: Tensor) -> tuple[Tensor, Tensor]:
        """The first step of each step's segment (below 0: before), and the step after its last."""
        end = self._ends[step, place]
        start = torch.full_like(end, -1) if self.resets is None else self._starts[step, place]
        return start, end

    def place_in_memory(self, step: Tensor, place: Tensor) -> Tensor:
        """The packed row of some steps, below 0 in the history."""
        inside = self.offset[step.clamp(0, max(self.steps - 1, 0))] + place
        return torch.where(step < 0, step * self.rows + place, inside)

    @cached_property
    def draws(self) -> Tensor:
        """The resets as places in (T · B), in an order by step: where values are drawn anew."""
        assert self.resets is not None
        return self.resets.flatten().nonzero().squeeze(-1)

    @cached_property
    def _draw_of(self) -> Tensor:
        """(T, B): the row outside that the last reset has made, or that of the beginning."""
        first = self.total + torch.arange(self.rows)
        if self.resets is None:
            return first.expand(self.steps, self.rows)
        made = torch.full((self.steps * self.rows,), -1)
        made[self.draws] = self.total + self.rows + torch.arange(len(self.draws))
        if not self.steps:
            return made.view(0, self.rows)
        latest = made.view(self.steps, self.rows).cummax(0).values
        return torch.where(latest < 0, first, latest)

    def index(self, key: IndexKey) -> Tensor:
        """For each packed row the row that it reads, int32; the same tensor at every call.

        Generated code keeps its address, and threads share rows: the first table made stays.
        """
        found = self._indices.get(key)
        if found is None:
            found = self._indices.setdefault(key, self._index(*key).to(torch.int32))
        return found

    def _index(self, delay: int, outside: str, past: bool) -> Tensor:
        source = self.step_of - delay
        belongs = source < self._ends[self.step_of, self.place_of]
        if self.resets is not None:
            belongs &= source >= self._starts[self.step_of, self.place_of]
        before = source < 0
        inside = self.offset[source.clamp(0, max(self.steps - 1, 0))] + self.place_of
        history = source * self.rows + self.place_of
        if not past:
            belongs &= ~before
        if outside == "zero":
            return torch.where(belongs, inside, self.total)
        beyond = self.total + self.place_of
        if outside == "drawn":
            beyond = self._draw_of[self.step_of, self.place_of]
        return torch.where(belongs, torch.where(before, history, inside), beyond)

    def final(self, count: int, outside: str) -> Tensor:
        """(k, B): the rows of the last k values of each place, of what is carried on."""
        back = torch.arange(count).unsqueeze(-1) - count
        source = back + self.lengths
        last = (self.lengths - 1).clamp(min=0)
        place = torch.arange(self.rows)
        before = source < 0
        inside = self.offset[source.clamp(0, max(self.steps - 1, 0))] + place
        found = torch.where(before, source * self.rows + place, inside)
        if self.resets is None or not self.steps:
            return found
        start = self._starts[last, place]
        belongs = (source >= start) | (self.lengths == 0)
        beyond = self._draw_of[last, place] if outside == "drawn" else self.total + place
        return torch.where(belongs, found, beyond.expand_as(found))

    @cached_property
    def last(self) -> Tensor:
        """(B,): the row of each place's last step; 0 where it has none."""
        place = torch.arange(self.rows)
        if not self.steps:
            return torch.zeros_like(place)
        found = self.offset[(self.lengths - 1).clamp(min=0)] + place
        return torch.where(self.lengths > 0, found, torch.zeros_like(found))

    def sorted(self, tensor: Tensor, axis: int) -> Tensor:
        """A tensor with its batch in the order of packed rows."""
        return tensor if self.order is None else tensor.index_select(axis, self.order)

    @cached_property
    def _back(self) -> Tensor:
        assert self.order is not None
        return torch.argsort(self.order)

    def unsorted(self, tensor: Tensor, axis: int) -> Tensor:
        """A tensor with its batch as it was given."""
        return tensor if self.order is None else tensor.index_select(axis, self._back)

    def packed(self, series: Tensor) -> Tensor:
        """(T, B, …) -> its packed rows."""
        flat = series.reshape(-1, *series.shape[2:])
        return flat if self.is_dense else flat.index_select(0, self.origin)

    def spread(self, rows: Tensor) -> Tensor:
        """Packed rows -> (T, B, …), zero where a row has ended."""
        if self.is_dense:
            return rows.reshape(self.given_steps, self.rows, *rows.shape[1:])
        whole = rows.new_zeros(self.given_steps * self.rows, *rows.shape[1:])
        whole.index_copy_(0, self.origin, rows)
        return whole.view(self.given_steps, self.rows, *rows.shape[1:])


@lru_cache(maxsize=16)
def dense_rows(steps: int, rows: int) -> Rows:
    """The rows of a call without lengths and resets."""
    return Rows(steps, rows)
