"""Where the rows of a window lie among packed rows, and what those before the first step gain."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from rnnc.compiler.backends.cpu.schedule.window_access import WindowKey

from .packed_sequence import PackedSequence

MISSING: Final = -(2**31)
"""No row: outside of the segment."""


def compute_window_index(rows: PackedSequence, key: WindowKey, age: Tensor | None) -> Tensor:
    """(N, L) of int32: for each packed row the rows of its window, or its readers; or `MISSING`.

    age: (B,), in the order of packed rows: how many steps before the first belong to its segment.
    """
    kind, first, last = key
    step, place = rows.step_of_row.unsqueeze(-1), rows.batch_index.unsqueeze(-1)
    if kind == "rows":
        source = step - torch.arange(first, last - 1, -1)
        start, end = rows.segment_bounds(step, place)
        if age is not None:
            start = torch.where(start < 0, -age[place], start)
        there = (source >= start) & (source < end)
        row = rows.packed_row(source, place)
    else:
        reader = step + torch.arange(last, first + 1)
        alive = (reader >= 0) & (reader < rows.lengths[place])
        start, end = rows.segment_bounds(reader.clamp(0, max(rows.steps - 1, 0)), place)
        there = alive & (step >= start) & (step < end)
        row = rows.packed_row(reader, place)
    return torch.where(there, row, MISSING).to(torch.int32)


def scatter_window_history(table: Tensor, weights: Tensor, vector: Tensor, count: int) -> Tensor:
    """(count, n): what rows of history, the last of them row −1, gain: (N, L) weights of (N, n)."""
    total = vector.new_zeros(count, vector.shape[-1])
    for i in range(table.shape[1]):
        row = table[:, i]
        at = ((row < 0) & (row > MISSING)).nonzero().squeeze(-1)
        total.index_add_(0, row[at].long() + count, weights[at, i].unsqueeze(-1) * vector[at])
    return total
