"""Partition the columns of a loop into independent parts.

If all recurrent matrices are block-diagonal, y = diag(W₁, …, Wₙ) x, and all other operations
elementwise, hidden units of different blocks are independent; without matmuls all units are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rnnc.compiler.ir.ops import GROUP_OPS
from rnnc.compiler.schedule.plan import Plan

from .kernel_partition import StagePartition, partition_stages
from .matmul_operands import stage_matmuls

COLUMNS_PER_PART: Final = 64
"""Columns of a part in a loop without matmuls, where any partition of the columns is valid."""


def partition_independent_stages(
    plan: Plan, value_ids: Sequence[int]
) -> tuple[StagePartition, int]:
    """Return the stages of a loop, and the number of its independent parts."""
    partition = partition_stages(plan, value_ids, keep_blocks=True)
    parts = count_independent_parts(partition)
    return (partition, parts) if parts > 1 else (partition_stages(plan, value_ids), 1)


def count_independent_parts(partition: StagePartition) -> int:
    """Count the parts of equal width that no stage combines; 1 if there are none.

    partition: made with `keep_blocks=True`.
    """
    plan, decomposition = partition.plan, partition.decomposition
    values, widths = plan.dataflow.values, {stage.width for stage in partition.stages}
    local_operations = {values[value_id].operation for value_id in decomposition.local_values}
    if 1 in widths or not local_operations.isdisjoint(GROUP_OPS):
        return 1
    matmuls = [matmul for stage in partition.stages for matmul in stage_matmuls(plan, stage)]
    if not matmuls:
        return -(-widths.pop() // COLUMNS_PER_PART) if len(widths) == 1 else 1
    counts = set()
    for matmul in matmuls:
        vector = values[matmul.vector.value]
        is_local = vector.id in decomposition.local_values
        if not matmul.block_stride or (is_local and len(decomposition.slices_of(vector.id)) > 1):
            return 1
        counts.add(vector.shape[0] // matmul.depth)
    count = counts.pop()
    return 1 if counts or any(width % count for width in widths) else count
