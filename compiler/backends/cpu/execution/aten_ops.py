"""ATen implementations of values of a call or row, and of sums over steps."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from rnnc.compiler.backends.aten.op_table import (
    ELEMENTWISE_FUNCTIONS,
    group_max,
    group_sum,
    indexed_sum,
    matmul,
    outer_sum,
    pad,
    spread,
)
from rnnc.compiler.ir.dataflow import Value


def evaluate_op(value: Value, operands: Sequence[Tensor]) -> Tensor:
    """Evaluate an operation whose operands have the same leading axes, or none."""
    if value.operation in ELEMENTWISE_FUNCTIONS:
        lead = max((operand.shape[:-1] for operand in operands), key=len)
        width = max(operand.shape[-1] for operand in operands)
        out = operands[-1].new_empty(*lead, width)
        ELEMENTWISE_FUNCTIONS[value.operation](*operands, out=out)
        return out
    if value.operation in {"state", "stopgrad"}:
        return operands[0]
    if value.operation == "matmul":
        return matmul(operands[0], operands[1], bool(value.attributes[0]))
    return _evaluate_structural(value, operands, [int(a) for a in value.attributes])


def _evaluate_structural(value: Value, operands: Sequence[Tensor], numbers: list[int]) -> Tensor:
    match value.operation:
        case "concatenate":
            lead = max((o.shape[:-1] for o in operands), key=len)
            return torch.cat([o.expand(*lead, o.shape[-1]) for o in operands], -1)
        case "slice":
            return operands[0][..., numbers[0] : numbers[1]]
        case "pad":
            return pad(operands[0], numbers[0], numbers[1])
        case "stack":
            return torch.cat(list(operands), numbers[0])
        case "cut":
            return operands[0].narrow(numbers[0], numbers[1], numbers[2] - numbers[1])
        case "group_sum":
            return group_sum(operands[0], numbers[0])
        case "group_max":
            return group_max(operands[0], numbers[0])
    assert value.operation == "spread", value.operation
    return spread(operands[0], numbers[0])


def sum_over_rows(value: Value, operands: Sequence[Tensor]) -> Tensor:
    """Sum over rows: operands are (N, …), symbols (N,) with the number of symbols for no symbol.

    Factors of a call are (…): their product has no rows and counts once.
    """
    match value.operation:
        case "total":
            return operands[0].sum(0)
        case "outer_sum":
            return outer_sum(operands[0], operands[1], value.attributes)
    assert value.operation == "indexed_sum", value.operation
    return indexed_sum(operands[0], operands[1].long(), value.attributes).contiguous()
