"""Windows of time in ATen calls, for all steps or for one: no row of a window is ever copied.

For all steps, windows of neighbouring steps overlap: a block of C steps sees C + L − 1 rows, and
what each step has for each row of its window is a band of a (C, C + L − 1) matrix. So one product a
block and row of the batch does it: more arithmetic than needed by C / L, at the speed of a product.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import torch
from torch import Tensor

SMALLEST, LARGEST = 16, 128
"""Steps of a block."""
NUMBERS: Final = 1 << 22
"""Numbers that intermediate results as wide as a vocabulary may have."""


def _blocks(steps: int, rows: int) -> Iterator[slice]:
    size = max(SMALLEST, min(LARGEST, rows))
    for start in range(0, steps, size):
        yield slice(start, min(start + size, steps))


def _band(block: Tensor, rows: int) -> Tensor:
    """(B, C, L) of (B, C, C + L − 1): entry (c, i) is at (c, c + i)."""
    b, c, w = block.shape
    return block.as_strided((b, c, rows), (c * w, w + 1, 1))


def _banded(weights: Tensor, there: Tensor) -> Tensor:
    """(C, B, L) weights of rows as (B, C, C + L − 1), zero where there is no row."""
    c, b, rows = there.shape
    block = weights.new_zeros(b, c, c + rows - 1)
    kept = torch.where(there, weights, weights.new_zeros(()))
    _band(block, rows).copy_(kept.transpose(0, 1))
    return block


def scores(line: Tensor, query: Tensor, there: Tensor, out: Tensor) -> None:
    """Write rowᵢ · query, zero where there is no row.

    line: (T + L − 1, B, n), the rows of step t from t on. query: (T, B, n). there, out: (T, B, L).
    """
    rows = there.shape[-1]
    for block in _blocks(len(there), rows):
        part = line[block.start : block.stop + rows - 1].permute(1, 2, 0)
        found = torch.bmm(query[block].transpose(0, 1), part)
        band = _band(found, rows).transpose(0, 1)
        out[block].copy_(torch.where(there[block], band, band.new_zeros(())))


def mix(line: Tensor, weights: Tensor, there: Tensor, out: Tensor) -> None:
    """Write Σ weightsᵢ rowᵢ over the rows that are there; `weights` (T, B, L), `out` (T, B, n)."""
    rows = there.shape[-1]
    for block in _blocks(len(there), rows):
        part = line[block.start : block.stop + rows - 1].transpose(0, 1)
        found = torch.bmm(_banded(weights[block], there[block]), part)
        out[block].copy_(found.transpose(0, 1))


def unmix(weights: Tensor, vector: Tensor, there: Tensor) -> Tensor:
    """(T + L − 1, B, n): for each row Σ weightsᵢ vector over the windows in which it is row i."""
    rows = there.shape[-1]
    steps, b, n = vector.shape
    total = vector.new_zeros(steps + rows - 1, b, n)
    for block in _blocks(steps, rows):
        band = _banded(weights[block], there[block])
        found = torch.bmm(band.transpose(1, 2), vector[block].transpose(0, 1))
        total[block.start : block.stop + rows - 1] += found.transpose(0, 1)
    return total


def scores_now(rows: Tensor, query: Tensor, there: Tensor, out: Tensor) -> None:
    """`scores` at one step: rows (L, B, n), query (B, n) or (n,), there and out (B, L)."""
    query = query.expand(rows.shape[1:])
    found = torch.bmm(rows.transpose(0, 1), query.unsqueeze(-1)).squeeze(-1)
    torch.where(there, found, found.new_zeros(()), out=out)


def mix_now(rows: Tensor, weights: Tensor, there: Tensor, out: Tensor) -> None:
    """`mix` at one step: rows (L, B, n), weights and there (B, L), out (B, n)."""
    kept = torch.where(there, weights, weights.new_zeros(()))
    out.copy_(torch.bmm(kept.unsqueeze(1), rows.transpose(0, 1)).squeeze(1))


def symbol_scores(symbols: Tensor, query: Tensor, there: Tensor, out: Tensor) -> None:
    """Write the entry of the query at each symbol; symbols, there and out (…, L), −1 for none."""
    wide = query.expand(*symbols.shape[:-1], query.shape[-1])
    found = wide.gather(-1, symbols.clamp(min=0))
    torch.where(there & (symbols >= 0), found, found.new_zeros(()), out=out)


def matches(symbols: Tensor, symbol: Tensor, there: Tensor, out: Tensor) -> None:
    """Write 1 where a row is the symbol (…), else 0."""
    out.copy_((symbols == symbol.unsqueeze(-1)) & (symbols >= 0) & there)


def symbol_mix(symbols: Tensor, weights: Tensor, there: Tensor, out: Tensor) -> None:
    """Write the sum of the weights at each symbol, (…, n)."""
    there = there & (symbols >= 0)
    kept = torch.where(there, weights, weights.new_zeros(()))
    _add_at(out.zero_(), symbols.clamp(min=0), kept)


def log_mix(symbols: Tensor, logs: Tensor, mask: Tensor, there: Tensor, out: Tensor) -> None:
    """Write log Σ e^logs at each symbol, over the rows where the mask is not 0; −∞ for none."""
    logs = logs.expand(symbols.shape)
    there = there & (symbols >= 0) & (mask != 0)
    size = max(1, NUMBERS // max(1, out[:1].numel())) if out.dim() == 3 else len(out)
    for start in range(0, len(out), max(1, size)):
        at = slice(start, start + size)
        _log_mix(symbols[at].clamp(min=0), logs[at], there[at], out[at])


def _log_mix(index: Tensor, logs: Tensor, there: Tensor, out: Tensor) -> None:
    lowest = logs.new_full((), -torch.inf)
    nothing = logs.new_zeros(())
    # Each symbol's largest term is taken out of its sum, so that the sum is at least 1.
    out.fill_(-torch.inf)
    highest = out.scatter_reduce_(-1, index, torch.where(there, logs, lowest), "amax")
    top = highest.gather(-1, index)
    top = torch.where(top == lowest, nothing, top)
    terms = torch.where(there, (logs - top).exp(), nothing)
    total = torch.zeros_like(out)
    _add_at(total, index, terms)
    # Rows of one symbol write the same number, and those that are not there what its rows write.
    found = total.gather(-1, index)
    out.scatter_(-1, index, torch.where(found > 0, found.log() + top, lowest))


def shares(
    symbols: Tensor, logs: Tensor, whole: Tensor, mask: Tensor, there: Tensor, out: Tensor
) -> None:
    """Write e^(logs − whole at the symbol), 0 where there is no row or the mask is 0."""
    there = there & (symbols >= 0) & (mask != 0)
    nothing = logs.new_zeros(())
    at = whole.gather(-1, symbols.clamp(min=0))
    difference = torch.where(there, logs - at, nothing)
    torch.where(there, difference.exp(), nothing, out=out)


def _add_at(total: Tensor, index: Tensor, values: Tensor) -> None:
    """Add values to the entries of the last axis that they name, in the order of the rows."""
    if total.device.type == "cpu":
        total.scatter_add_(-1, index, values)
        return
    # Elsewhere sums would be atomic, and two runs differ.
    for row in range(index.shape[-1]):
        place = index[..., row : row + 1]
        total.scatter_(-1, place, total.gather(-1, place) + values[..., row : row + 1])
