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
    linear_id = next(n for n in phase.values if memory.values[n].operation == "linear")
    for state in states:
        memory.fill_margins(memory.values[state])
    steps = memory.call.steps
    if not steps:
        return
    out, delayed = memory.output(linear_id), memory.values[linear_id].operands[2]
    a, b = (
        memory.load(operand).expand(out.shape) for operand in memory.values[linear_id].operands[:2]
    )
    a, b = _mask_coefficients(memory, linear_id, a, b)
    padded, steps_before = memory.padded_series(delayed.value)
    solve_recurrence(
        a,
        b,
        padded[steps_before - 1 if delayed.delay > 0 else steps_before + steps],
        out,
        delayed.delay < 0,
    )
    for state in states:
        if not memory.plan.is_alias(memory.values[state]):
            memory.output(state).copy_(out)


def _mask_coefficients(
    memory: AtenMemory, linear_id: int, a: Tensor, b: Tensor
) -> tuple[Tensor, Tensor]:
    """Mask the coefficients: segments start from their initial value, ended rows hold theirs."""
    boundaries = memory.boundaries
    delayed = memory.values[linear_id].operands[2]
    source = memory.values[delayed.value]
    zero = a.new_zeros(())
    if boundaries.may_cross_segment(
        delayed.delay, has_boundary_value=source.operation in BOUNDARY_VALUE_OPS
    ):
        in_segment = boundaries.same_segment(delayed.delay)
        b = torch.where(in_segment, b, b + a * memory.boundary_value(source))
        a = torch.where(in_segment, a, zero)
    if boundaries.valid is not None:
        is_held = source.operation == "state" and delayed.delay > 0
        a = torch.where(boundaries.valid, a, a.new_ones(()) if is_held else zero)
        b = torch.where(boundaries.valid, b, zero)
    return a, b


def solve_recurrence(
    a: Tensor, b: Tensor, initial: Tensor, out: Tensor, reverse: bool = False
) -> None:
    """Write v[t] = a[t] v[t-1] + b[t] into `out`; all (T, B, n), v[-1] = initial (B, n).

    reverse: v[t] = a[t] v[t+1] + b[t] and v[T] = initial.
    """
    steps = len(a)
    # √T / 2 steps a block take √T calls within blocks and 2 √T between them. Below 64 steps
    # there is little to save.
    block = math.isqrt(steps) // 2
    if block < 4 or initial.numel() > MAX_BLOCKED_NUMEL:
        _solve_sequentially(a, b, initial, out, reverse)
        return
    count = steps // block
    first_blocked = steps - count * block if reverse else 0
    blocked = slice(first_blocked, first_blocked + count * block)
    # (blocks, steps of a block, B, n); reshape copies a strided tensor once.
    slopes, offsets = (x[blocked].reshape(count, block, *x.shape[1:]) for x in (a, b))
    values, products = torch.empty_like(offsets), torch.empty_like(slopes)
    order = range(block - 1, -1, -1) if reverse else range(block)
    last = order[0]
    values[:, last], products[:, last] = offsets[:, last], slopes[:, last]
    for i in order[1:]:
        torch.addcmul(offsets[:, i], slopes[:, i], values[:, last], out=values[:, i])
        torch.mul(slopes[:, i], products[:, last], out=products[:, i])
        last = i
    entering = torch.empty_like(products[:, 0])
    blocks = range(count - 1, -1, -1) if reverse else range(count)
    entering[blocks[0]] = initial
    for current, following in pairwise(blocks):
        torch.addcmul(
            values[current, last],
            products[current, last],
            entering[current],
            out=entering[following],
        )
    values.addcmul_(products, entering.unsqueeze(1))
    out[blocked].copy_(values.flatten(0, 1))
    remainder = slice(0, first_blocked) if reverse else slice(count * block, steps)
    last_blocked = first_blocked if reverse else count * block - 1
    _solve_sequentially(a[remainder], b[remainder], out[last_blocked], out[remainder], reverse)


def _solve_sequentially(a: Tensor, b: Tensor, initial: Tensor, out: Tensor, reverse: bool) -> None:
    value = initial
    steps = list(zip(a.unbind(0), b.unbind(0), out.unbind(0), strict=True))
    for slope, offset, step_out in reversed(steps) if reverse else steps:
        value = torch.addcmul(offset, slope, value, out=step_out)
