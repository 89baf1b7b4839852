"""Grouped weight gradients: sums of outer products with shared operands, computed at once.

Each operand is then packed once (inductor has a grouped GEMM for the same reason). Input: the jobs
of a launch. Output: the same jobs, neighboring outer-product sums replaced by groups.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from rnnc.compiler.ir.dataflow import Operand, Value

from .kernel_partition import CpuKernelGroup

_MAX_OPERANDS: Final = 16
"""Operands on either side: the capacity of the arrays of `csrc/job_runner.h`."""


@dataclass(frozen=True, slots=True)
class WeightGradGroup:
    """The sums of every left operand times every right one.

    sums: one for each pair, in the order of the left operands.
    """

    left: tuple[Operand, ...]
    right: tuple[Operand, ...]
    sums: tuple[Value, ...]


def group_weight_grads(
    jobs: Sequence[CpuKernelGroup | Value],
) -> Iterator[CpuKernelGroup | Value | WeightGradGroup]:
    """Group the outer-product sums that no kernel group separates."""
    pending: list[Value] = []
    for job in jobs:
        if isinstance(job, Value) and job.operation == "outer_sum":
            pending.append(job)
            continue
        if isinstance(job, CpuKernelGroup):
            # The kernels may reuse the buffers that the sums before them read.
            yield from _make_groups(pending)
            pending = []
        yield job
    yield from _make_groups(pending)


def _make_groups(sums: Sequence[Value]) -> Iterator[WeightGradGroup]:
    """Group right operands that meet the same left ones."""
    by_right: dict[Operand, dict[Operand, Value]] = {}
    for value in sums:
        left, right = value.operands
        by_left = by_right.setdefault(right, {})
        if left in by_left or len(by_left) == _MAX_OPERANDS:
            yield WeightGradGroup((left,), (right,), (value,))
        else:
            by_left[left] = value
    rights_of: dict[tuple[Operand, ...], list[Operand]] = {}
    for right, by_left in by_right.items():
        lefts = tuple(sorted(by_left, key=lambda operand: (operand.value, operand.delay)))
        rights_of.setdefault(lefts, []).append(right)
    for lefts, rights in rights_of.items():
        for start in range(0, len(rights), _MAX_OPERANDS):
            chunk = tuple(rights[start : start + _MAX_OPERANDS])
            pairs = tuple(by_right[right][left] for left in lefts for right in chunk)
            yield WeightGradGroup(lefts, chunk, pairs)
