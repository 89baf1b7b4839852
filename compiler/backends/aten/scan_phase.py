"""A linear recurrence for all steps: v[t] = a[t] ⊙ v[t-1] + b[t], in either direction of time.

Blocks of steps are solved side by side from zero, then the value that enters each block is carried
through (Blelloch 1990, in two levels): about 3 √T calls instead of T, where a call has so few
numbers that its own cost counts most.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Final

import torch
from torch import Tensor

from rnnc.compiler.ir.dataflow import BOUNDED
from rnnc.compiler.schedule.plan import Phase

from .buffers import Memory

SMALL: Final = 1 << 15
"""Numbers a step up to which blocks are worth their second pass over memory."""


def run_scan(phase: Phase, memory: Memory) -> None:
    """Compute a phase whose cycle is one `linear` value, and perhaps the state that takes it."""
    states = [n for n in phase.values if memory.values[n].operation == "state"]
    number = next(n for n in phase.values if memory.values[n].operation == "linear")
    for state in states:
        memory.fill_margins(memory.values[state])
    steps = memory.call.steps
    if not steps:
        return
    out, turn = memory.out(number), memory.values[number].operands[2]
    a, b = (memory.read(read).expand(out.shape) for read in memory.values[number].operands[:2])
    a, b = _cut(memory, number, a, b)
    line, before = memory.line(turn.value)
    solve(a, b, line[before - 1 if turn.delay > 0 else before + steps], out, turn.delay < 0)
    for state in states:
        if not memory.plan.is_free(memory.values[state]):
            memory.out(state).copy_(out)


def _cut(memory: Memory, number: int, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Coefficients that begin anew with each segment, and hold still where a row has ended."""
    boundaries = memory.boundaries
    turn = memory.values[number].operands[2]
    source = memory.values[turn.value]
    nothing = a.new_zeros(())
    if boundaries.cuts(turn.delay, bounded=source.operation in BOUNDED):
        linked = boundaries.linked(turn.delay)
        b = torch.where(linked, b, b + a * memory.outside(source))
        a = torch.where(linked, a, nothing)
    if boundaries.alive is not None:
        holds = source.operation == "state" and turn.delay > 0
        a = torch.where(boundaries.alive, a, a.new_ones(()) if holds else nothing)
        b = torch.where(boundaries.alive, b, nothing)
    return a, b


def solve(a: Tensor, b: Tensor, entering: Tensor, out: Tensor, backward: bool = False) -> None:
    """Write v[t] = a[t] v[t-1] + b[t] into `out`; all (T, B, n), v[-1] = entering (B, n).

    backward: v[t] = a[t] v[t+1] + b[t] and v[T] = entering.
    """
    steps = len(a)
    block = math.isqrt(steps) // 2
    if block < 4 or entering.numel() > SMALL:
        _one_by_one(a, b, entering, out, backward)
        return
    count = steps // block
    first = steps - count * block if backward else 0
    inside = slice(first, first + count * block)
    # (blocks, steps of a block, B, n); a strided tensor is copied here, once.
    slopes, offsets = (x[inside].reshape(count, block, *x.shape[1:]) for x in (a, b))
    values, gains = torch.empty_like(offsets), torch.empty_like(slopes)
    order = range(block - 1, -1, -1) if backward else range(block)
    before = order[0]
    values[:, before], gains[:, before] = offsets[:, before], slopes[:, before]
    for i in order[1:]:
        torch.addcmul(offsets[:, i], slopes[:, i], values[:, before], out=values[:, i])
        torch.mul(slopes[:, i], gains[:, before], out=gains[:, i])
        before = i
    carried = torch.empty_like(gains[:, 0])
    blocks = range(count - 1, -1, -1) if backward else range(count)
    carried[blocks[0]] = entering
    for c, after in pairwise(blocks):
        torch.addcmul(values[c, before], gains[c, before], carried[c], out=carried[after])
    values.addcmul_(gains, carried.unsqueeze(1))
    out[inside].copy_(values.flatten(0, 1))
    rest = slice(0, first) if backward else slice(count * block, steps)
    at = first if backward else count * block - 1
    _one_by_one(a[rest], b[rest], out[at], out[rest], backward)


def _one_by_one(a: Tensor, b: Tensor, entering: Tensor, out: Tensor, backward: bool) -> None:
    before = entering
    steps = list(zip(a.unbind(0), b.unbind(0), out.unbind(0), strict=True))
    for slope, offset, after in reversed(steps) if backward else steps:
        before = torch.addcmul(offset, slope, before, out=after)
