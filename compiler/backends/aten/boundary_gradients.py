"""Gradients of values outside the series: of the carry, and of initial values of states."""

from __future__ import annotations

import torch
from torch import Tensor

from rnnc.compiler.ir.dataflow import Operand, Value

from .buffers import AtenMemory


def carry_gradient(value: Value, memory: AtenMemory) -> Tensor:
    """Return the gradient (k, B, n) of the k steps before the first one.

    A user with delay d reads step −j at its own step d − j, if no reset lies in between.
    """
    name = str(value.attributes[0])
    call = memory.call
    keep = len(call.carry[name])
    total = memory.like.new_zeros(keep, call.batch_size, value.shape[0])
    for read in value.operands:
        if _is_carry_cotangent(value, read, memory):
            total += memory.carry_cotangents[name]
            continue
        if memory.values[read.value].operation == "unmix_history":
            total += memory.series(read.value)
            continue
        back = -read.delay
        if back <= 0:
            continue
        gain = memory.series(read.value)[:back]
        if memory.boundaries.may_cross_segment(back, has_boundary_value=False):
            linked = memory.boundaries.same_segment(back)[:back]
            gain = torch.where(linked, gain, gain.new_zeros(()))
        total[keep - back : keep - back + len(gain)] += gain
    return total


def initial_value_gradient(value: Value, memory: AtenMemory) -> Tensor:
    """Return the gradient (B, n) of an initial value, summed over reads outside their segment."""
    name = str(value.attributes[0])
    boundaries, call = memory.boundaries, memory.call
    total = memory.like.new_zeros(call.batch_size, value.shape[0])
    past = name in call.carry
    for read in value.operands:
        if _is_carry_cotangent(value, read, memory):
            total += memory.initial_cotangents[name]
            continue
        back = -read.delay
        if back > 0 and past and call.resets is None:
            continue
        outside = ~boundaries.same_segment(back, has_carry=past)
        if boundaries.valid is not None:
            outside = outside & boundaries.valid
        gain = memory.series(read.value)
        total += torch.where(outside, gain, gain.new_zeros(())).sum(0)
    return total


def _is_carry_cotangent(value: Value, operand: Operand, memory: AtenMemory) -> bool:
    """Return True if an operand is the cotangent of the variable's own carry.

    Cotangents of other results, such as outputs, are ordinary operands.
    """
    source = memory.values[operand.value]
    own = ("history", value.attributes[0])
    return not operand.delay and source.operation == "seed" and source.attributes == own
