"""Combine parallel matmuls: products of one vector become one with stacked matrices.

    matmul(W1, v), matmul(W2, v)      -> z = matmul(stack(W1, W2), v); slice(z), slice(z)

Condition: the same vector at the same delay, matrices of parameters, transposed alike, and all of
the matmuls in one cycle or all outside of any (else a loop would do work that does not belong to
it). The matrices are stacked in the order of their final users, so that `horizontal_fusion` finds
slices side by side. Their gradients become one matmul, too.
"""

from __future__ import annotations

from rnnc.compiler.ir.builder import Builder
from rnnc.compiler.ir.dataflow import Dataflow


def combine_matmuls(dataflow: Dataflow) -> Dataflow:
    """Combine the forward matmuls of each vector into one."""
    builder = Builder.from_dataflow(dataflow)
    groups: dict[object, list[int]] = {}
    for value in dataflow.values:
        if value.operation != "matmul" or value.rate != "step" or value.adjoint:
            continue
        weight, vector = value.operands
        matrix = dataflow.values[weight.value]
        if len(matrix.shape) != 2 or matrix.rate != "call":
            continue
        is_cyclic = value.id in dataflow.cyclic_values
        cycle = dataflow.component_of[value.id] if is_cyclic else -1
        key = (vector, value.attributes, cycle)
        groups.setdefault(key, []).append(value.id)
    for group in groups.values():
        if len(group) > 1:
            ordered = sorted(group, key=lambda value_id: _final_user(dataflow, value_id))
            _combine_group(builder, dataflow, ordered)
    return builder.build()


def _combine_group(builder: Builder, dataflow: Dataflow, group: list[int]) -> None:
    first = dataflow.values[group[0]]
    transposed = bool(first.attributes[0])
    weights = [dataflow.values[value_id].operands[0] for value_id in group]
    stacked = builder.create("stack", *weights, attributes=(1 if transposed else 0,))
    product = builder.create(
        "matmul", stacked, first.operands[1], attributes=first.attributes, origin=first.origin
    )
    start = 0
    for value_id in group:
        stop = start + dataflow.values[value_id].size
        part = builder.create("slice", product, attributes=(start, stop))
        builder.replace_uses(value_id, part)
        start = stop


def _final_user(dataflow: Dataflow, value_id: int) -> tuple[str, int]:
    """Follow single users through sums; return the operation and id of the first other user."""
    while True:
        users: tuple[int, ...] = dataflow.users[value_id]
        if len(users) != 1:
            return ("", value_id)
        value_id = users[0]
        if dataflow.values[value_id].operation != "add":
            return (dataflow.values[value_id].operation, value_id)
