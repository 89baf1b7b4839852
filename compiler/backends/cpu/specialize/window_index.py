"""Window indices: the packed rows that a sliding window covers, as int32 tables.

Input: packed rows and the bounds of a window. Output: a table for generated code, and the gradient
of rows before the first step, which no packed row holds.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from rnnc.compiler.backends.cpu.schedule.window_access import WindowKey

from .packed_sequence import PackedSequence

MISSING: Final = -(2**31)
"""In place of a row outside of the segment; `csrc/sliding_window.h` has the same."""


def compute_window_index(sequence: PackedSequence, key: WindowKey, age: Tensor | None) -> Tensor:
    """Return (N, L) int32: the rows of each row's window, or its readers; or `MISSING`.

    age: (B,), sorted like packed rows: steps before the first that belong to its segment.
    """
    kind, first, last = key
    step, batch_index = sequence.step_of_row.unsqueeze(-1), sequence.batch_index.unsqueeze(-1)
    if kind == "rows":
        source = step - torch.arange(first, last - 1, -1)
        start, end = sequence.segment_bounds(step, batch_index)
        if age is not None:
            start = torch.where(start < 0, -age[batch_index], start)
        exists = (source >= start) & (source < end)
        row = sequence.packed_row(source, batch_index)
    else:
        reader = step + torch.arange(last, first + 1)
        alive = (reader >= 0) & (reader < sequence.lengths[batch_index])
        known_step = reader.clamp(0, max(sequence.steps - 1, 0))
        start, end = sequence.segment_bounds(known_step, batch_index)
        exists = alive & (step >= start) & (step < end)
        row = sequence.packed_row(reader, batch_index)
    return torch.where(exists, row, MISSING).to(torch.int32)


def scatter_window_history(table: Tensor, weights: Tensor, vector: Tensor, count: int) -> Tensor:
    """Return (count, n): the gradient of rows before the first step, the last of them row −1.

    table, weights: (N, L), a window index and the weight of each of its rows.
    vector: (N, n), the gradient of the window's result.
    """
    total = vector.new_zeros(count, vector.shape[-1])
    for offset in range(table.shape[1]):
        row = table[:, offset]
        readers = ((row < 0) & (row > MISSING)).nonzero().squeeze(-1)
        gradient = weights[readers, offset].unsqueeze(-1) * vector[readers]
        total.index_add_(0, row[readers].long() + count, gradient)
    return total
