"""Loops whose columns fall into parts that need nothing of each other.

With block-diagonal matrices, y = diag(W₁, …, Wₙ) x, and everything else entrywise, the units of one
block never meet those of another; without any product, no unit meets another one at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rnnc.compiler.ir.ops import GROUPS
from rnnc.compiler.schedule.plan import Plan

from .kernel_partition import Stages, stages_of
from .matmul_operands import products_of

APART: Final = 64
"""Columns of a part where every column is independent."""


def independent_stages(plan: Plan, numbers: Sequence[int]) -> tuple[Stages, int]:
    """The stages of a loop, and how many parts of it need nothing of each other."""
    whole = stages_of(plan, numbers, whole=True)
    parts = parts_of(whole)
    return (whole, parts) if parts > 1 else (stages_of(plan, numbers), 1)


def parts_of(stages: Stages) -> int:
    """How many parts there are, each with the same share of every stage; 1 where they meet.

    stages: with products whole.
    """
    values, widths = stages.plan.flow.values, {stage.width for stage in stages.stages}
    if 1 in widths or any(values[n].operation in GROUPS for n in stages.pieces.inside):
        return 1
    products = [p for stage in stages.stages for p in products_of(stages.plan, stage)]
    if not products:
        return -(-widths.pop() // APART) if len(widths) == 1 else 1
    counts = set()
    for product in products:
        vector = values[product.vector.value]
        inside = vector.number in stages.pieces.inside
        if not product.block or (inside and len(stages.pieces.of(vector.number)) > 1):
            return 1
        counts.add(vector.shape[0] // product.depth)
    count = counts.pop()
    return 1 if counts or any(width % count for width in widths) else count
