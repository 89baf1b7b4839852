"""Some rows or columns of a matrix, made once a call: what `narrow` and `split` take products of.

Columns (0, 3) and (5, 6) of eight are `stack[1](cut[1, 0, 3](W), cut[1, 5, 6](W))`; (0, 8) is W.
"""

from __future__ import annotations

from collections.abc import Iterable

from rnnc.compiler.ir.builder import Builder
from rnnc.compiler.ir.dataflow import Operand

Range = tuple[int, int]
"""From this entry up to, but without, that one."""


def slice_matrix(draft: Builder, matrix: Operand, axis: int, ranges: Iterable[Range]) -> Operand:
    """Rows (axis 0) or columns (1) of a matrix, those of one range after those of another."""
    shape, adjoint = draft.type_of(matrix)[0], draft.values[matrix.value].adjoint
    cuts = [
        matrix
        if (start, stop) == (0, shape[axis])
        else draft.create("cut", matrix, attributes=(axis, start, stop), adjoint=adjoint)
        for start, stop in ranges
    ]
    if len(cuts) == 1:
        return cuts[0]
    return draft.create("stack", *cuts, attributes=(axis,), adjoint=adjoint)


def merge_ranges(ranges: Iterable[Range]) -> tuple[Range, ...]:
    """The same entries in as few ranges as possible, in order."""
    found: list[Range] = []
    for start, stop in sorted(set(ranges)):
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], stop))
        else:
            found.append((start, stop))
    return tuple(found)


def locate_range(ranges: Iterable[Range], target: Range) -> Range:
    """Where a range lies in what `section` makes of the ranges that hold it."""
    before = 0
    for start, stop in ranges:
        if start <= target[0] and target[1] <= stop:
            return before + target[0] - start, before + target[1] - start
        before += stop - start
    raise ValueError(f"{target} is in none of {tuple(ranges)}")
