"""Products that share their vector become one product of stacked matrices.

    matmul(W1, v), matmul(W2, v)      -> z = matmul(stack(W1, W2), v); slice(z), slice(z)

Side condition: one vector at one delay, matrices of parameters transposed alike, and all of the
products inside of one cycle or all outside of any (else a loop would hold what it need not).
Matrices are stacked in the order of what their products go into, so that `pack` finds them side by
side. Their gradients then are one product, too.
"""

from __future__ import annotations

from rnnc.compiler.ir.builder import Builder
from rnnc.compiler.ir.dataflow import Dataflow


def combine_matmuls(dataflow: Dataflow) -> Dataflow:
    """The flow with one product for each vector."""
    draft = Builder.from_dataflow(dataflow)
    groups: dict[object, list[int]] = {}
    for value in dataflow.values:
        if value.operation != "matmul" or value.rate != "step" or value.adjoint:
            continue
        weight, vector = value.operands
        matrix = dataflow.values[weight.value]
        if len(matrix.shape) != 2 or matrix.rate != "call":
            continue
        cycle = dataflow.component_of[value.id] if value.id in dataflow.cyclic_values else -1
        key = (vector, value.attributes, cycle)
        groups.setdefault(key, []).append(value.id)
    for group in groups.values():
        if len(group) > 1:
            _combine_group(
                draft, dataflow, sorted(group, key=lambda number: _final_user(dataflow, number))
            )
    return draft.build()


def _combine_group(draft: Builder, flow: Dataflow, group: list[int]) -> None:
    first = flow.values[group[0]]
    transposed = bool(first.attributes[0])
    weights = [flow.values[number].operands[0] for number in group]
    stacked = draft.create("stack", *weights, attributes=(1 if transposed else 0,))
    product = draft.create(
        "matmul",
        stacked,
        first.operands[1],
        attributes=first.attributes,
        origin=first.origin,
    )
    start = 0
    for number in group:
        stop = start + flow.values[number].size
        draft.replace_uses(number, draft.create("slice", product, attributes=(start, stop)))
        start = stop


def _final_user(flow: Dataflow, number: int) -> tuple[str, int]:
    """What a product goes into, past the sums: its operation and number."""
    while True:
        readers: tuple[int, ...] = flow.users[number]
        if len(readers) != 1:
            return ("", number)
        number = readers[0]
        if flow.values[number].operation != "add":
            return (flow.values[number].operation, number)
