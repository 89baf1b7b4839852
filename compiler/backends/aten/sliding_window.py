"""Sliding-window operations in ATen calls, for all steps or one, without copying rows.

Windows of neighboring steps overlap: a block of C steps reads C + L − 1 rows, and the weights of
its windows form a band of a (C, C + L − 1) matrix. One batched product per block computes it: C / L
times more arithmetic than necessary, at the speed of a product.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import torch
from torch import Tensor

SMALLEST, LARGEST = 16, 128
"""Limits of a block's steps, else as many as window rows: half of the product is used."""
MAX_INTERMEDIATE_NUMEL: Final = 1 << 22
"""Elements of vocabulary-wide intermediate results: 16 MiB in float32."""


def _step_blocks(steps: int, rows: int) -> Iterator[slice]:
    size = max(SMALLEST, min(LARGEST, rows))
    for start in range(0, steps, size):
        yield slice(start, min(start + size, steps))


def _band_view(block: Tensor, rows: int) -> Tensor:
    """Return the band (B, C, L) of (B, C, C + L − 1) as a view: entry (c, i) is at (c, c + i)."""
    b, c, w = block.shape
    return block.as_strided((b, c, rows), (c * w, w + 1, 1))


def _band_matrix(weights: Tensor, present: Tensor) -> Tensor:
    """Expand weights (C, B, L) to band matrices (B, C, C + L − 1), zero for missing rows."""
    c, b, rows = present.shape
    block = weights.new_zeros(b, c, c + rows - 1)
    masked = torch.where(present, weights, weights.new_zeros(()))
    _band_view(block, rows).copy_(masked.transpose(0, 1))
    return block


def window_dot(line: Tensor, query: Tensor, present: Tensor, out: Tensor) -> None:
    """Write rowᵢ · query for each row of each window, zero for missing rows.

    line: (T + L − 1, B, n), the rows of step t from t on. query: (T, B, n). there, out: (T, B, L).
    """
    window = present.shape[-1]
    for block in _step_blocks(len(present), window):
        rows = line[block.start : block.stop + window - 1].permute(1, 2, 0)
        products = torch.bmm(query[block].transpose(0, 1), rows)
        band = _band_view(products, window).transpose(0, 1)
        out[block].copy_(torch.where(present[block], band, band.new_zeros(())))


def window_sum(line: Tensor, weights: Tensor, present: Tensor, out: Tensor) -> None:
    """Write Σ weightsᵢ rowᵢ over the present rows; `weights` (T, B, L), `out` (T, B, n)."""
    window = present.shape[-1]
    for block in _step_blocks(len(present), window):
        rows = line[block.start : block.stop + window - 1].transpose(0, 1)
        sums = torch.bmm(_band_matrix(weights[block], present[block]), rows)
        out[block].copy_(sums.transpose(0, 1))


def scatter_window(weights: Tensor, vector: Tensor, present: Tensor) -> Tensor:
    """Return (T + L − 1, B, n): per row, Σ weightsᵢ vector over the windows that contain it."""
    window = present.shape[-1]
    steps, b, n = vector.shape
    total = vector.new_zeros(steps + window - 1, b, n)
    for block in _step_blocks(steps, window):
        band = _band_matrix(weights[block], present[block])
        sums = torch.bmm(band.transpose(1, 2), vector[block].transpose(0, 1))
        total[block.start : block.stop + window - 1] += sums.transpose(0, 1)
    return total


def window_dot_step(rows: Tensor, query: Tensor, present: Tensor, out: Tensor) -> None:
    """Compute `window_dot` at one step: rows (L, B, n), query (B, n) or (n,), others (B, L)."""
    query = query.expand(rows.shape[1:])
    products = torch.bmm(rows.transpose(0, 1), query.unsqueeze(-1)).squeeze(-1)
    torch.where(present, products, products.new_zeros(()), out=out)


def window_sum_step(rows: Tensor, weights: Tensor, present: Tensor, out: Tensor) -> None:
    """Compute `window_sum` at one step: rows (L, B, n), weights and present (B, L), out (B, n)."""
    masked = torch.where(present, weights, weights.new_zeros(()))
    out.copy_(torch.bmm(masked.unsqueeze(1), rows.transpose(0, 1)).squeeze(1))


def symbol_window_dot(symbols: Tensor, query: Tensor, present: Tensor, out: Tensor) -> None:
    """Write the query's entry at each symbol; symbols, present and out (…, L), −1 for none."""
    wide = query.expand(*symbols.shape[:-1], query.shape[-1])
    entries = wide.gather(-1, symbols.clamp(min=0))
    torch.where(present & (symbols >= 0), entries, entries.new_zeros(()), out=out)


def symbol_matches(symbols: Tensor, symbol: Tensor, present: Tensor, out: Tensor) -> None:
    """Write 1 where a row equals the symbol (…), else 0."""
    out.copy_((symbols == symbol.unsqueeze(-1)) & (symbols >= 0) & present)


def symbol_window_sum(symbols: Tensor, weights: Tensor, present: Tensor, out: Tensor) -> None:
    """Write the sum of weights at each symbol, (…, n)."""
    present = present & (symbols >= 0)
    masked = torch.where(present, weights, weights.new_zeros(()))
    _ordered_scatter_add(out.zero_(), symbols.clamp(min=0), masked)


def symbol_window_logsumexp(
    symbols: Tensor, logs: Tensor, mask: Tensor, present: Tensor, out: Tensor
) -> None:
    """Write log Σ e^logs at each symbol, over rows with a nonzero mask; −∞ for none."""
    logs = logs.expand(symbols.shape)
    present = present & (symbols >= 0) & (mask != 0)
    size = max(1, MAX_INTERMEDIATE_NUMEL // max(1, out[:1].numel())) if out.dim() == 3 else len(out)
    for start in range(0, len(out), max(1, size)):
        steps = slice(start, start + size)
        _logsumexp_by_symbol(symbols[steps].clamp(min=0), logs[steps], present[steps], out[steps])


def _logsumexp_by_symbol(index: Tensor, logs: Tensor, present: Tensor, out: Tensor) -> None:
    lowest = logs.new_full((), -torch.inf)
    zero = logs.new_zeros(())
    # Subtract each symbol's largest term, so that its sum is at least 1 (stable logsumexp).
    out.fill_(-torch.inf)
    highest = out.scatter_reduce_(-1, index, torch.where(present, logs, lowest), "amax")
    top = highest.gather(-1, index)
    top = torch.where(top == lowest, zero, top)
    terms = torch.where(present, (logs - top).exp(), zero)
    total = torch.zeros_like(out)
    _ordered_scatter_add(total, index, terms)
    # All rows of one symbol, missing ones too, write the same number: their order is irrelevant.
    sums = total.gather(-1, index)
    out.scatter_(-1, index, torch.where(sums > 0, sums.log() + top, lowest))


def symbol_window_softmax(
    symbols: Tensor, logs: Tensor, totals: Tensor, mask: Tensor, present: Tensor, out: Tensor
) -> None:
    """Write e^(logs − totals at the symbol), 0 for missing rows and where the mask is 0."""
    present = present & (symbols >= 0) & (mask != 0)
    zero = logs.new_zeros(())
    total = totals.gather(-1, symbols.clamp(min=0))
    difference = torch.where(present, logs - total, zero)
    torch.where(present, difference.exp(), zero, out=out)


def _ordered_scatter_add(total: Tensor, index: Tensor, values: Tensor) -> None:
    """Add values to entries of the last axis by index, in the order of the rows."""
    if total.device.type == "cpu":
        total.scatter_add_(-1, index, values)
        return
    # On other devices scatter_add_ adds atomically, and two runs would differ.
    for row in range(index.shape[-1]):
        row_index = index[..., row : row + 1]
        total.scatter_(-1, row_index, total.gather(-1, row_index) + values[..., row : row + 1])
