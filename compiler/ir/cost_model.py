"""Cost model: arithmetic and memory traffic of each operation, from its shapes alone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from .dataflow import Dataflow, Value
from .ops import ELEMENTWISE_OPS, GROUP_OPS, WINDOW_OPS


@dataclass(frozen=True, slots=True)
class Cost:
    """Work for each step and row (for values of rate `call`: for a call).

    matmul_flops: two for each multiplication with its addition.
    elementwise_ops: one for each entry, whatever the operation.
    elements_moved: numbers read and written, if every operation took its operands from memory;
        without matrices, which are read once a step, not once a row.
    weight_elements: numbers of the matrices that each step reads.
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
            f"{self.matmul_flops} product FLOPs, {self.elementwise_ops} elementwise, "
            f"{4 * self.elements_moved} bytes, {4 * self.weight_elements} bytes of weights"
        )


def estimate_cost(dataflow: Dataflow, value: Value) -> Cost:
    """Return the cost of one value."""
    operands = [dataflow.values[operand.value] for operand in value.operands]
    elements = value.size + sum(v.size for v in operands if v.rate != "call")
    if value.operation == "matmul":
        weight = operands[0].size
        return Cost(2 * weight, 0, elements, weight)
    if value.operation == "outer_sum":
        return Cost(2 * value.size, 0, elements - value.size, value.size)
    if value.operation in {"indexed_sum", "total"}:
        return Cost(0, operands[0].size, operands[0].size)
    if value.operation in ELEMENTWISE_OPS or value.operation in GROUP_OPS:
        width = max(value.size, *(operand.size for operand in operands))
        return Cost(0, width * max(1, len(operands) - 1), elements)
    if value.operation in WINDOW_OPS:
        return _window_cost(value, operands, elements)
    if value.operation in {"slice", "state"}:
        return Cost()
    return Cost(0, 0, elements)


def _window_cost(value: Value, operands: list[Value], elements: int) -> Cost:
    # Each window reads all of its rows again; of a symbol's one-hot row, one entry.
    first, last = (int(end) for end in value.attributes[:2])
    rows = first - last + 1
    if value.operation == "unmix":
        return Cost(2 * rows * value.size, 0, rows * (operands[2].size + 1) + value.size)
    if operands[0].shape:
        width = operands[0].size
        return Cost(2 * rows * width, 0, elements + (rows - 2) * width)
    return Cost(0, 2 * rows if value.operation == "log_mix" else rows, elements + rows)


def total_cost(dataflow: Dataflow, value_ids: Iterable[int]) -> Cost:
    """Return the summed cost of some values."""
    total = Cost()
    for value_id in value_ids:
        total = total + estimate_cost(dataflow, dataflow.values[value_id])
    return total
