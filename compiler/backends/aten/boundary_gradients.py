"""What flows out of the series: gradients of the history, and of initial values."""

from __future__ import annotations

import torch
from torch import Tensor

from rnnc.compiler.ir.dataflow import Read, Value

from .buffers import Memory


def to_history(value: Value, memory: Memory) -> Tensor:
    """(k, B, n): the gains of the k steps before the first, by the readers that look back to them.

    A reader d steps back reads step −j at step d − j, if no reset is between.
    """
    name = str(value.attributes[0])
    call = memory.call
    keep = len(call.history[name])
    total = memory.like.new_zeros(keep, call.rows, value.shape[0])
    for read in value.operands:
        if _is_carried_on(value, read, memory):
            total += memory.early[name]
            continue
        if memory.values[read.value].operation == "unmix_history":
            total += memory.now(read.value)
            continue
        back = -read.delay
        if back <= 0:
            continue
        gain = memory.now(read.value)[:back]
        if memory.boundaries.cuts(back, bounded=False):
            linked = memory.boundaries.linked(back)[:back]
            gain = torch.where(linked, gain, gain.new_zeros(()))
        total[keep - back : keep - back + len(gain)] += gain
    return total


def to_initial(value: Value, memory: Memory) -> Tensor:
    """(B, n): the gains of an initial value, by the readers that look outside of their segment."""
    name = str(value.attributes[0])
    boundaries, call = memory.boundaries, memory.call
    total = memory.like.new_zeros(call.rows, value.shape[0])
    past = name in call.history
    for read in value.operands:
        if _is_carried_on(value, read, memory):
            total += memory.replaced[name]
            continue
        back = -read.delay
        if back > 0 and past and call.resets is None:
            continue
        outside = ~boundaries.linked(back, past=past)
        if boundaries.alive is not None:
            outside = outside & boundaries.alive
        gain = memory.now(read.value)
        total += torch.where(outside, gain, gain.new_zeros(())).sum(0)
    return total


def _is_carried_on(value: Value, read: Read, memory: Memory) -> bool:
    """Whether a gain is the gradient of what is carried on of the variable itself.

    One that comes in for something else, an output say, is a gain like all others.
    """
    source = memory.values[read.value]
    own = ("history", value.attributes[0])
    return not read.delay and source.operation == "seed" and source.attributes == own
