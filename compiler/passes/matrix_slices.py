"""Matrix slices: some rows or columns of a parameter matrix, assembled once a call.

Columns (0, 3) and (5, 6) of eight are `stack[1](cut[1, 0, 3](W), cut[1, 5, 6](W))`; (0, 8) is W.
"""

from __future__ import annotations

from collections.abc import Iterable

from rnnc.compiler.ir.builder import Builder
from rnnc.compiler.ir.dataflow import Operand

Range = tuple[int, int]
"""(start, stop): the entries from start up to, but without, stop."""


def slice_matrix(builder: Builder, matrix: Operand, axis: int, ranges: Iterable[Range]) -> Operand:
    """Create a matrix of the rows (axis 0) or columns (1) in some ranges, in their order."""
    shape, adjoint = builder.type_of(matrix)[0], builder.values[matrix.value].adjoint
    cuts = [
        matrix
        if (start, stop) == (0, shape[axis])
        else builder.create("cut", matrix, attributes=(axis, start, stop), adjoint=adjoint)
        for start, stop in ranges
    ]
    if len(cuts) == 1:
        return cuts[0]
    return builder.create("stack", *cuts, attributes=(axis,), adjoint=adjoint)


def merge_ranges(ranges: Iterable[Range]) -> tuple[Range, ...]:
    """Merge overlapping and adjacent ranges; return the result in ascending order."""
    merged: list[Range] = []
    for start, stop in sorted(set(ranges)):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], stop))
        else:
            merged.append((start, stop))
    return tuple(merged)


def locate_range(ranges: Iterable[Range], target: Range) -> Range:
    """Return the position of a range in the result of `slice_matrix(…, ranges)`.

    Raises:
        ValueError: when no single range contains it.
    """
    offset = 0
    for start, stop in ranges:
        if start <= target[0] and target[1] <= stop:
            return offset + target[0] - start, offset + target[1] - start
        offset += stop - start
    raise ValueError(f"{target} is in none of {tuple(ranges)}")
