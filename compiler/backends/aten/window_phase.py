"""Windows of a plan, for all steps or step by step: finds their rows, calls what computes them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

import torch
from torch import Tensor

from rnnc.compiler.ir.dataflow import Read, Value

from . import sliding_window
from .buffers import Memory

SYMBOLS: Final[dict[str, Callable[..., None]]] = {
    "scores": sliding_window.symbol_scores,
    "mix": sliding_window.symbol_mix,
    "matches": sliding_window.matches,
    "log_mix": sliding_window.log_mix,
    "shares": sliding_window.shares,
}
"""(symbols, other operands…, where rows are, out)."""


def ends_of(value: Value) -> tuple[int, int]:
    """How many steps back the window of an operation begins and ends."""
    first, last = (
        value.attributes[-2:] if value.operation == "unmix_history" else value.attributes[:2]
    )
    return int(first), int(last)


def line_of(memory: Memory, number: int, first: int, last: int) -> Tensor:
    """(T + L − 1, B, …): a value from `first` steps before the first step on; zero (−1) beyond."""
    line, before = memory.line(number)
    start = before - first
    stop = start + memory.call.steps + first - last
    if start >= 0 and stop <= len(line):
        return line[start:stop]
    nothing = -1 if line.dim() == 2 else 0
    front = line.new_full((max(0, -start), *line.shape[1:]), nothing)
    back = line.new_full((max(0, stop - len(line)), *line.shape[1:]), nothing)
    return torch.cat([front, line[max(0, start) : stop], back])


def window_for_all(value: Value, memory: Memory, out: Tensor) -> None:
    """Compute an operation on windows at all steps."""
    if not memory.call.steps:
        return
    first, last = ends_of(value)
    if value.operation == "unmix":
        line = _unmixed(value, memory, first, last)
        # Steps −first to T − 1 − last: of them those of the series.
        at = min(max(0, -first), memory.call.steps)
        line = line[max(0, first) :][: memory.call.steps - at]
        out[:at].zero_()
        out[at : at + len(line)].copy_(line)
        out[at + len(line) :].zero_()
        return
    there = memory.boundaries.present(first, last)
    line = line_of(memory, value.operands[0].value, first, last)
    others = [_whole(memory, read) for read in value.operands[2:]]
    if line.dim() == 2:
        SYMBOLS[value.operation](line.unfold(0, first - last + 1, 1), *others, there, out)
    elif value.operation == "scores":
        sliding_window.scores(line, others[0], there, out)
    else:
        sliding_window.mix(line, others[0], there, out)


def unmix_history(value: Value, memory: Memory) -> Tensor:
    """(k, B, n): what rows before the first step gain."""
    name = str(value.attributes[0])
    first, last = ends_of(value)
    history = memory.call.history[name]
    total = memory.like.new_zeros(history.shape)
    if memory.call.steps and first > 0:
        gain = _unmixed(value, memory, first, last)[:first]
        total[len(total) - first : len(total) - first + len(gain)] = gain
    return total


def _unmixed(value: Value, memory: Memory, first: int, last: int) -> Tensor:
    there = memory.boundaries.looking(first, last)
    weights, vector = (_whole(memory, Read(value.operands[at].value)) for at in (0, 2))
    return sliding_window.unmix(weights, memory.boundaries.shown(vector), there)


def _whole(memory: Memory, read: Read) -> Tensor:
    """What is read at all steps and rows, whatever its rate; symbols have no axis of their own."""
    shape = (memory.call.steps, memory.call.rows, *memory.values[read.value].shape)
    return memory.read(read).expand(shape)


Rows = list[Tensor]


def rows_at_each_step(memory: Memory, number: int, first: int, last: int) -> Rows:
    """(L, B, …) at each step, a view: what a window from `first` to `last` steps back sees."""
    rows = first - last + 1
    if memory.values[number].rate != "step":
        whole = memory.now(number).expand(rows, memory.call.rows, *memory.values[number].shape)
        return [whole] * memory.call.steps
    line = line_of(memory, number, first, last)
    return [line[t : t + rows] for t in range(memory.call.steps)]


def unmix_now(
    weights: Tensor, vectors: Tensor, there: Tensor, out: Tensor, *, ragged: bool
) -> None:
    """`unmix` at one step: (L, B, L) and (L, B, n) of the readers, the earliest first.

    The reader that is j steps after the earliest has this step as its row L − 1 − j; there: (B, L).
    ragged: whether readers that are not there may hold anything.
    """
    rows = len(weights)
    step, batch, entry = weights.stride()
    if step < entry:  # the same weights at all steps
        own = weights[0].flip(-1)
    else:
        start = weights.storage_offset() + (rows - 1) * entry
        own = weights.as_strided((weights.shape[1], rows), (batch, step - entry), start)
    if ragged:
        vectors = torch.where(there.t().unsqueeze(-1), vectors, vectors.new_zeros(()))
    sliding_window.mix_now(vectors, own, there, out)


def call_at_each_step(value: Value, memory: Memory) -> tuple[Callable[..., None], list[Rows]]:
    """What computes an operation on windows in a loop, and its operands from windows.

    The call takes rows (of the variable, or of both that `unmix` reads), the other operands, and
    where rows are.
    """
    first, last = ends_of(value)
    if value.operation == "unmix":
        found = [rows_at_each_step(memory, value.operands[i].value, -last, -first) for i in (0, 2)]
        return partial(unmix_now, ragged=memory.boundaries.alive is not None), found
    variable = value.operands[0].value
    rows = rows_at_each_step(memory, variable, first, last)
    if not memory.values[variable].shape:
        return partial(_symbols_now, SYMBOLS[value.operation]), [rows]
    return (sliding_window.scores_now if value.operation == "scores" else sliding_window.mix_now), [
        rows
    ]


def _symbols_now(compute: Callable[..., None], rows: Tensor, *others: Tensor, out: Tensor) -> None:
    compute(rows.t(), *others, out)
