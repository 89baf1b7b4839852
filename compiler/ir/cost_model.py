"""What values cost: arithmetic and memory traffic."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from .dataflow import Dataflow, Value
from .ops import ELEMENTWISE_OPS, GROUP_OPS, WINDOW_OPS


@dataclass(frozen=True, slots=True)
class Cost:
    """For each step and row (for values of a call: once).

    matmul_flops: FLOPs in products, two for each multiplication with its addition.
    elementwise_ops: elementwise operations, one for each entry, whatever they are.
    elements_moved: numbers read and written, had every operation its operands from memory; a matrix counts
        once a step, not once a row, and is counted apart.
    weight_elements: numbers of the matrices that are read in each step.
    """

    matmul_flops: int = 0
    elementwise_ops: int = 0
    elements_moved: int = 0
    weight_elements: int = 0

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.matmul_flops + other.matmul_flops,
            self.elementwise_ops + other.elementwise_ops,
            self.elements_moved + other.elements_moved,
            self.weight_elements + other.weight_elements,
        )

    def __str__(self) -> str:
        return (
            f"{self.matmul_flops} product FLOPs, {self.elementwise_ops} elementwise, {4 * self.elements_moved} bytes, "
            f"{4 * self.weight_elements} bytes of weights"
        )


def estimate_cost(dataflow: Dataflow, value: Value) -> Cost:
    """What one value costs."""
    operands = [dataflow.values[read.value] for read in value.operands]
    moved = value.size + sum(v.size for v in operands if v.rate != "call")
    if value.operation == "matmul":
        weight = operands[0].size
        return Cost(2 * weight, 0, moved, weight)
    if value.operation == "outer_sum":
        return Cost(2 * value.size, 0, moved - value.size, value.size)
    if value.operation in {"indexed_sum", "total"}:
        return Cost(0, operands[0].size, operands[0].size)
    if value.operation in ELEMENTWISE_OPS or value.operation in GROUP_OPS:
        width = max(value.size, *(operand.size for operand in operands))
        return Cost(0, width * max(1, len(operands) - 1), moved)
    if value.operation in WINDOW_OPS:
        return _window_cost(value, operands, moved)
    if value.operation in {"slice", "state"}:
        return Cost()
    return Cost(0, 0, moved)


def _window_cost(value: Value, operands: list[Value], moved: int) -> Cost:
    """Each row is read again by every window that it is in; of a symbol, only its entry."""
    first, last = (int(end) for end in value.attributes[:2])
    rows = first - last + 1
    if value.operation == "unmix":
        return Cost(2 * rows * value.size, 0, rows * (operands[2].size + 1) + value.size)
    if operands[0].shape:
        width = operands[0].size
        return Cost(2 * rows * width, 0, moved + (rows - 2) * width)
    return Cost(0, 2 * rows if value.operation == "log_mix" else rows, moved + rows)


def total_cost(dataflow: Dataflow, value_ids: Iterable[int]) -> Cost:
    """What some values cost together."""
    total = Cost()
    for number in value_ids:
        total = total + estimate_cost(dataflow, dataflow.values[number])
    return total
