"""Sums of outer products that are taken at once, so that what they share is packed once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from rnnc.compiler.ir.dataflow import Read, Value

from .kernel_partition import Unit

_MOST: Final = 16
"""Operands on either side (`calls.h`)."""


@dataclass(frozen=True, slots=True)
class Group:
    """Every left operand with every right one; `sums` in the order of the left ones."""

    left: tuple[Read, ...]
    right: tuple[Read, ...]
    sums: tuple[Value, ...]


def together(jobs: Sequence[Unit | Value]) -> Iterator[Unit | Value | Group]:
    """The jobs of a segment, sums of outer products that follow each other in groups."""
    waiting: list[Value] = []
    for job in jobs:
        if isinstance(job, Value) and job.operation == "outer_sum":
            waiting.append(job)
            continue
        if isinstance(job, Unit):
            # A unit may take the place of what the sums before it read.
            yield from _groups(waiting)
            waiting = []
        yield job
    yield from _groups(waiting)


def _groups(values: Sequence[Value]) -> Iterator[Group]:
    """Right operands that meet the same left ones are together."""
    met: dict[Read, dict[Read, Value]] = {}
    for value in values:
        left, right = value.operands
        if left in met.setdefault(right, {}) or len(met[right]) == _MOST:
            yield Group((left,), (right,), (value,))
        else:
            met[right][left] = value
    same: dict[tuple[Read, ...], list[Read]] = {}
    for right, found in met.items():
        same.setdefault(tuple(sorted(found, key=lambda r: (r.value, r.delay))), []).append(right)
    for lefts, rights in same.items():
        for start in range(0, len(rights), _MOST):
            part = tuple(rights[start : start + _MOST])
            sums = tuple(met[right][left] for left in lefts for right in part)
            yield Group(lefts, part, sums)
