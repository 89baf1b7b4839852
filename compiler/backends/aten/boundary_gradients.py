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
    count = len(call.carry[name])
    total = memory.like.new_zeros(count, call.batch_size, value.shape[0])
    for operand in value.operands:
        if _is_carry_cotangent(value, operand, memory):
            total += memory.carry_cotangents[name]
            continue
        if memory.values[operand.value].operation == "unmix_history":
            total += memory.series(operand.value)
            continue
        delay = -operand.delay
        if delay <= 0:
            continue
        cotangent = memory.series(operand.value)[:delay]
        if memory.boundaries.may_cross_segment(delay, has_boundary_value=False):
            in_segment = memory.boundaries.same_segment(delay)[:delay]
            cotangent = torch.where(in_segment, cotangent, cotangent.new_zeros(()))
        total[count - delay : count - delay + len(cotangent)] += cotangent
    return total


def initial_value_gradient(value: Value, memory: AtenMemory) -> Tensor:
    """Return the gradient (B, n) of an initial value, summed over reads outside their segment."""
    name = str(value.attributes[0])
    boundaries, call = memory.boundaries, memory.call
    total = memory.like.new_zeros(call.batch_size, value.shape[0])
    has_carry = name in call.carry
    for operand in value.operands:
        if _is_carry_cotangent(value, operand, memory):
            total += memory.initial_cotangents[name]
            continue
        delay = -operand.delay
        if delay > 0 and has_carry and call.resets is None:
            continue
        outside = ~boundaries.same_segment(delay, has_carry=has_carry)
        if boundaries.valid is not None:
            outside = outside & boundaries.valid
        cotangent = memory.series(operand.value)
        total += torch.where(outside, cotangent, cotangent.new_zeros(())).sum(0)
    return total


def _is_carry_cotangent(value: Value, operand: Operand, memory: AtenMemory) -> bool:
    """Return True if an operand is the cotangent of the variable's own carry.

    Cotangents of other results, such as outputs, are ordinary operands.
    """
    source = memory.values[operand.value]
    carry_key = ("history", value.attributes[0])
    return not operand.delay and source.operation == "seed" and source.attributes == carry_key
