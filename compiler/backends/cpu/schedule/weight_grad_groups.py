"""Sums of outer products that are taken at once, so that what they share is packed once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from rnnc.compiler.ir.dataflow import Operand, Value

from .kernel_partition import CpuKernelGroup

_MAX_OPERANDS: Final = 16
"""Operands on either side (`calls.h`)."""


@dataclass(frozen=True, slots=True)
class WeightGradGroup:
    """Every left operand with every right one; `sums` in the order of the left ones."""

    left: tuple[Operand, ...]
    right: tuple[Operand, ...]
    sums: tuple[Value, ...]


def group_weight_grads(
    jobs: Sequence[CpuKernelGroup | Value],
) -> Iterator[CpuKernelGroup | Value | WeightGradGroup]:
    """The jobs of a segment, sums of outer products that follow each other in groups."""
    waiting: list[Value] = []
    for job in jobs:
        if isinstance(job, Value) and job.operation == "outer_sum":
            waiting.append(job)
            continue
        if isinstance(job, CpuKernelGroup):
            # A unit may take the place of what the sums before it read.
            yield from _make_groups(waiting)
            waiting = []
        yield job
    yield from _make_groups(waiting)


def _make_groups(values: Sequence[Value]) -> Iterator[WeightGradGroup]:
    """Right operands that meet the same left ones are together."""
    met: dict[Operand, dict[Operand, Value]] = {}
    for value in values:
        left, right = value.operands
        if left in met.setdefault(right, {}) or len(met[right]) == _MAX_OPERANDS:
            yield WeightGradGroup((left,), (right,), (value,))
        else:
            met[right][left] = value
    same: dict[tuple[Operand, ...], list[Operand]] = {}
    for right, found in met.items():
        same.setdefault(tuple(sorted(found, key=lambda r: (r.value, r.delay))), []).append(right)
    for lefts, rights in same.items():
        for start in range(0, len(rights), _MAX_OPERANDS):
            part = tuple(rights[start : start + _MAX_OPERANDS])
            sums = tuple(met[right][left] for left in lefts for right in part)
            yield WeightGradGroup(lefts, part, sums)
