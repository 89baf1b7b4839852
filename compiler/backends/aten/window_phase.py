"""Execute window operations of a plan, for all steps at once or step by step in a loop."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

import torch
from torch import Tensor

from rnnc.compiler.ir.dataflow import Operand, Value

from . import sliding_window
from .buffers import AtenMemory

SYMBOL_WINDOW_FUNCTIONS: Final[dict[str, Callable[..., None]]] = {
    "scores": sliding_window.symbol_window_dot,
    "mix": sliding_window.symbol_window_sum,
    "matches": sliding_window.symbol_matches,
    "log_mix": sliding_window.symbol_window_logsumexp,
    "shares": sliding_window.symbol_window_softmax,
}
"""Signature: (symbols, *other operands, present, out)."""


def window_bounds(value: Value) -> tuple[int, int]:
    """Return the delays (first, last) of the oldest and newest row of a window."""
    first, last = (
        value.attributes[-2:] if value.operation == "unmix_history" else value.attributes[:2]
    )
    return int(first), int(last)


def window_series(memory: AtenMemory, value_id: int, first: int, last: int) -> Tensor:
    """Return (T + L − 1, B, …): a value from `first` steps back on; zero (−1) if unknown."""
    padded, steps_before = memory.padded_series(value_id)
    start = steps_before - first
    stop = start + memory.call.steps + first - last
    if start >= 0 and stop <= len(padded):
        return padded[start:stop]
    fill = -1 if padded.dim() == 2 else 0
    fill_before = padded.new_full((max(0, -start), *padded.shape[1:]), fill)
    fill_after = padded.new_full((max(0, stop - len(padded)), *padded.shape[1:]), fill)
    return torch.cat([fill_before, padded[max(0, start) : stop], fill_after])


def compute_window(value: Value, memory: AtenMemory, out: Tensor) -> None:
    """Compute a window operation at all steps into `out`."""
    if not memory.call.steps:
        return
    first, last = window_bounds(value)
    if value.operation == "unmix":
        series = _scatter_window(value, memory, first, last)
        # The result covers steps −first to T − 1 − last; copy those within the series.
        leading = min(max(0, -first), memory.call.steps)
        series = series[max(0, first) :][: memory.call.steps - leading]
        out[:leading].zero_()
        out[leading : leading + len(series)].copy_(series)
        out[leading + len(series) :].zero_()
        return
    present = memory.boundaries.window_mask(first, last)
    series = window_series(memory, value.operands[0].value, first, last)
    other_operands = [_expand_to_steps(memory, operand) for operand in value.operands[2:]]
    if series.dim() == 2:
        SYMBOL_WINDOW_FUNCTIONS[value.operation](
            series.unfold(0, first - last + 1, 1), *other_operands, present, out
        )
    elif value.operation == "scores":
        sliding_window.window_dot(series, other_operands[0], present, out)
    else:
        sliding_window.window_sum(series, other_operands[0], present, out)


def scatter_window_history(value: Value, memory: AtenMemory) -> Tensor:
    """Return the gradient (k, B, n) of a variable's carry through its windows."""
    name = str(value.attributes[0])
    first, last = window_bounds(value)
    carry = memory.call.carry[name]
    total = memory.like.new_zeros(carry.shape)
    if memory.call.steps and first > 0:
        cotangent = _scatter_window(value, memory, first, last)[:first]
        total[len(total) - first : len(total) - first + len(cotangent)] = cotangent
    return total


def _scatter_window(value: Value, memory: AtenMemory, first: int, last: int) -> Tensor:
    present = memory.boundaries.valid_window_mask(first, last)
    weights, vector = (
        _expand_to_steps(memory, Operand(value.operands[index].value)) for index in (0, 2)
    )
    return sliding_window.scatter_window(weights, memory.boundaries.zero_padding(vector), present)


def _expand_to_steps(memory: AtenMemory, operand: Operand) -> Tensor:
    """Expand an operand to all steps and rows; symbols have no vector axis."""
    shape = (memory.call.steps, memory.call.batch_size, *memory.values[operand.value].shape)
    return memory.load(operand).expand(shape)


WindowRows = list[Tensor]


def window_rows_per_step(memory: AtenMemory, value_id: int, first: int, last: int) -> WindowRows:
    """Return one view (L, B, …) a step: the rows of its window from `first` to `last`."""
    rows = first - last + 1
    if memory.values[value_id].rate != "step":
        row = memory.series(value_id).expand(
            rows, memory.call.batch_size, *memory.values[value_id].shape
        )
        return [row] * memory.call.steps
    series = window_series(memory, value_id, first, last)
    return [series[t : t + rows] for t in range(memory.call.steps)]


def scatter_window_step(
    weights: Tensor, vectors: Tensor, present: Tensor, out: Tensor, *, ragged: bool
) -> None:
    """Compute `unmix` at one step from the weights (L, B, L) and vectors (L, B, n) of its users.

    The user j steps after the earliest one has this step as row L − 1 − j; present: (B, L).
    ragged: True if users that are not present may hold any value, NaN included.
    """
    rows = len(weights)
    step, batch, entry = weights.stride()
    if step < entry:  # the same weights at all steps
        own_weights = weights[0].flip(-1)
    else:
        start = weights.storage_offset() + (rows - 1) * entry
        own_weights = weights.as_strided((weights.shape[1], rows), (batch, step - entry), start)
    if ragged:
        vectors = torch.where(present.t().unsqueeze(-1), vectors, vectors.new_zeros(()))
    sliding_window.window_sum_step(vectors, own_weights, present, out)


def window_step_function(
    value: Value, memory: AtenMemory
) -> tuple[Callable[..., None], list[WindowRows]]:
    """Return the function of a window operation in a loop, and its operands from windows.

    The function takes rows (of the variable, or of both operands of `unmix`), the other operands,
    and the mask of rows that are present.
    """
    first, last = window_bounds(value)
    if value.operation == "unmix":
        operand_rows = [
            window_rows_per_step(memory, value.operands[i].value, -last, -first) for i in (0, 2)
        ]
        return partial(
            scatter_window_step, ragged=memory.boundaries.valid is not None
        ), operand_rows
    variable = value.operands[0].value
    rows = window_rows_per_step(memory, variable, first, last)
    if not memory.values[variable].shape:
        return partial(_symbol_window_step, SYMBOL_WINDOW_FUNCTIONS[value.operation]), [rows]
    return (
        sliding_window.window_dot_step
        if value.operation == "scores"
        else sliding_window.window_sum_step
    ), [rows]


def _symbol_window_step(
    compute: Callable[..., None], rows: Tensor, *others: Tensor, out: Tensor
) -> None:
    compute(rows.t(), *others, out)
