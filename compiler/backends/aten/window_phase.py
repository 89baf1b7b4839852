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


def window_series(memory: AtenMemory, number: int, first: int, last: int) -> Tensor:
    """Return (T + L − 1, B, …): a value from `first` steps back on; zero (−1) if unknown."""
    line, before = memory.padded_series(number)
    start = before - first
    stop = start + memory.call.steps + first - last
    if start >= 0 and stop <= len(line):
        return line[start:stop]
    nothing = -1 if line.dim() == 2 else 0
    front = line.new_full((max(0, -start), *line.shape[1:]), nothing)
    back = line.new_full((max(0, stop - len(line)), *line.shape[1:]), nothing)
    return torch.cat([front, line[max(0, start) : stop], back])


def compute_window(value: Value, memory: AtenMemory, out: Tensor) -> None:
    """Compute a window operation at all steps into `out`."""
    if not memory.call.steps:
        return
    first, last = window_bounds(value)
    if value.operation == "unmix":
        line = _scatter_window(value, memory, first, last)
        # Steps −first to T − 1 − last: of them those of the series.
        at = min(max(0, -first), memory.call.steps)
        line = line[max(0, first) :][: memory.call.steps - at]
        out[:at].zero_()
        out[at : at + len(line)].copy_(line)
        out[at + len(line) :].zero_()
        return
    there = memory.boundaries.window_mask(first, last)
    line = window_series(memory, value.operands[0].value, first, last)
    others = [_expand_to_steps(memory, read) for read in value.operands[2:]]
    if line.dim() == 2:
        SYMBOL_WINDOW_FUNCTIONS[value.operation](
            line.unfold(0, first - last + 1, 1), *others, there, out
        )
    elif value.operation == "scores":
        sliding_window.window_dot(line, others[0], there, out)
    else:
        sliding_window.window_sum(line, others[0], there, out)


def scatter_window_history(value: Value, memory: AtenMemory) -> Tensor:
    """Return the gradient (k, B, n) of a variable's carry through its windows."""
    name = str(value.attributes[0])
    first, last = window_bounds(value)
    history = memory.call.carry[name]
    total = memory.like.new_zeros(history.shape)
    if memory.call.steps and first > 0:
        gain = _scatter_window(value, memory, first, last)[:first]
        total[len(total) - first : len(total) - first + len(gain)] = gain
    return total


def _scatter_window(value: Value, memory: AtenMemory, first: int, last: int) -> Tensor:
    there = memory.boundaries.valid_window_mask(first, last)
    weights, vector = (_expand_to_steps(memory, Operand(value.operands[at].value)) for at in (0, 2))
    return sliding_window.scatter_window(weights, memory.boundaries.zero_padding(vector), there)


def _expand_to_steps(memory: AtenMemory, operand: Operand) -> Tensor:
    """Expand an operand to all steps and rows; symbols have no vector axis."""
    shape = (memory.call.steps, memory.call.batch_size, *memory.values[operand.value].shape)
    return memory.load(operand).expand(shape)


WindowRows = list[Tensor]


def window_rows_per_step(memory: AtenMemory, number: int, first: int, last: int) -> WindowRows:
    """Return one view (L, B, …) a step: the rows of its window from `first` to `last`."""
    rows = first - last + 1
    if memory.values[number].rate != "step":
        whole = memory.series(number).expand(
            rows, memory.call.batch_size, *memory.values[number].shape
        )
        return [whole] * memory.call.steps
    line = window_series(memory, number, first, last)
    return [line[t : t + rows] for t in range(memory.call.steps)]


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
        own = weights[0].flip(-1)
    else:
        start = weights.storage_offset() + (rows - 1) * entry
        own = weights.as_strided((weights.shape[1], rows), (batch, step - entry), start)
    if ragged:
        vectors = torch.where(present.t().unsqueeze(-1), vectors, vectors.new_zeros(()))
    sliding_window.window_sum_step(vectors, own, present, out)


def window_step_function(
    value: Value, memory: AtenMemory
) -> tuple[Callable[..., None], list[WindowRows]]:
    """Return the function of a window operation in a loop, and its operands from windows.

    The function takes rows (of the variable, or of both operands of `unmix`), the other operands,
    and the mask of rows that are present.
    """
    first, last = window_bounds(value)
    if value.operation == "unmix":
        found = [
            window_rows_per_step(memory, value.operands[i].value, -last, -first) for i in (0, 2)
        ]
        return partial(scatter_window_step, ragged=memory.boundaries.valid is not None), found
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
