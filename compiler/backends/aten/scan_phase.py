"""Solve the linear recurrence v[t] = a[t] ⊙ v[t-1] + b[t], in either direction of time.

Two-level blocked scan (Blelloch 1990): blocks of steps are solved side by side from zero, then the
value entering each block is carried through. This takes about 3 √T calls instead of T.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Final

import torch
from torch import Tensor

from rnnc.compiler.ir.dataflow import BOUNDARY_VALUE_OPS
from rnnc.compiler.schedule.plan import Phase

from .buffers import AtenMemory

MAX_BLOCKED_NUMEL: Final = 1 << 15
"""Elements a step up to which the blocked scan is used.

Beyond that, arithmetic outweighs the overhead of calls, and the second pass over memory costs more
than the calls it saves.
"""


def run_scan(phase: Phase, memory: AtenMemory) -> None:
    """Execute a scan phase: one `linear` value, and possibly the state that stores it."""
    states = [n for n in phase.values if memory.values[n].operation == "state"]
    number = next(n for n in phase.values if memory.values[n].operation == "linear")
    for state in states:
        memory.fill_margins(memory.values[state])
    steps = memory.call.steps
    if not steps:
        return
    out, turn = memory.output(number), memory.values[number].operands[2]
    a, b = (memory.load(read).expand(out.shape) for read in memory.values[number].operands[:2])
    a, b = _mask_coefficients(memory, number, a, b)
    line, before = memory.padded_series(turn.value)
    solve_recurrence(
        a, b, line[before - 1 if turn.delay > 0 else before + steps], out, turn.delay < 0
    )
    for state in states:
        if not memory.plan.is_alias(memory.values[state]):
            memory.output(state).copy_(out)


def _mask_coefficients(
    memory: AtenMemory, number: int, a: Tensor, b: Tensor
) -> tuple[Tensor, Tensor]:
    """Mask the coefficients: segments start from their initial value, ended rows hold theirs."""
    boundaries = memory.boundaries
    turn = memory.values[number].operands[2]
    source = memory.values[turn.value]
    nothing = a.new_zeros(())
    if boundaries.may_cross_segment(
        turn.delay, has_boundary_value=source.operation in BOUNDARY_VALUE_OPS
    ):
        linked = boundaries.same_segment(turn.delay)
        b = torch.where(linked, b, b + a * memory.boundary_value(source))
        a = torch.where(linked, a, nothing)
    if boundaries.valid is not None:
        holds = source.operation == "state" and turn.delay > 0
        a = torch.where(boundaries.valid, a, a.new_ones(()) if holds else nothing)
        b = torch.where(boundaries.valid, b, nothing)
    return a, b


def solve_recurrence(
    a: Tensor, b: Tensor, initial: Tensor, out: Tensor, reverse: bool = False
) -> None:
    """Write v[t] = a[t] v[t-1] + b[t] into `out`; all (T, B, n), v[-1] = initial (B, n).

    reverse: v[t] = a[t] v[t+1] + b[t] and v[T] = initial.
    """
    steps = len(a)
    block = math.isqrt(steps) // 2
    if block < 4 or initial.numel() > MAX_BLOCKED_NUMEL:
        _solve_sequentially(a, b, initial, out, reverse)
        return
    count = steps // block
    first = steps - count * block if reverse else 0
    inside = slice(first, first + count * block)
    # (blocks, steps of a block, B, n); a strided tensor is copied here, once.
    slopes, offsets = (x[inside].reshape(count, block, *x.shape[1:]) for x in (a, b))
    values, gains = torch.empty_like(offsets), torch.empty_like(slopes)
    order = range(block - 1, -1, -1) if reverse else range(block)
    before = order[0]
    values[:, before], gains[:, before] = offsets[:, before], slopes[:, before]
    for i in order[1:]:
        torch.addcmul(offsets[:, i], slopes[:, i], values[:, before], out=values[:, i])
        torch.mul(slopes[:, i], gains[:, before], out=gains[:, i])
        before = i
    carried = torch.empty_like(gains[:, 0])
    blocks = range(count - 1, -1, -1) if reverse else range(count)
    carried[blocks[0]] = initial
    for c, after in pairwise(blocks):
        torch.addcmul(values[c, before], gains[c, before], carried[c], out=carried[after])
    values.addcmul_(gains, carried.unsqueeze(1))
    out[inside].copy_(values.flatten(0, 1))
    rest = slice(0, first) if reverse else slice(count * block, steps)
    at = first if reverse else count * block - 1
    _solve_sequentially(a[rest], b[rest], out[at], out[rest], reverse)


def _solve_sequentially(a: Tensor, b: Tensor, initial: Tensor, out: Tensor, reverse: bool) -> None:
    before = initial
    steps = list(zip(a.unbind(0), b.unbind(0), out.unbind(0), strict=True))
    for slope, offset, after in reversed(steps) if reverse else steps:
        before = torch.addcmul(offset, slope, before, out=after)
