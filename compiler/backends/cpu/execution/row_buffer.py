"""Values of all steps as rows of a buffer, and the cotangents that a backward pass is given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor


@dataclass(slots=True)
class RowBuffer:
    """Rows of a buffer; the first row of the first step is `first_row` (see `PackedSequence`).

    width: entries of a row that count; the others are padding.
    """

    buffer: Tensor
    first_row: int
    width: int

    def gather(self, rows: Tensor) -> Tensor:
        """Copy some rows, counted from the first row of the first step."""
        gathered = self.buffer.index_select(0, rows + self.first_row)
        return gathered[:, : self.width] if gathered.dim() == 2 else gathered

    def view(self, row_count: int) -> Tensor:
        """Return the rows of all steps as a view."""
        rows = self.buffer[self.first_row : self.first_row + row_count]
        return rows[:, : self.width] if rows.dim() == 2 else rows


BoundValue = Tensor | RowBuffer
"""A tensor for what is computed once a call or row, a buffer for what every step has."""


@dataclass(slots=True)
class IncomingCotangents:
    """Gradients of the results of a call, by kind and name; None where there is none."""

    by_key: Mapping[tuple[str, str], Tensor | None] = field(default_factory=dict)


def copy_source(tensor: Tensor, itemsize: int) -> tuple[int, int, int, int, int, int]:
    """Describe the rows of a tensor for `copy_rows` of `csrc/job_runner.h`.

    Returns its address, two extents with their strides in bytes, and the bytes of a row.
    """
    shape, strides = tensor.shape, tensor.stride()
    match len(shape):
        case 1:
            n0, s0, n1, s1 = 1, 0, 1, 0
        case 2:
            n0, s0, n1, s1 = 1, 0, shape[0], strides[0]
        case _:
            n0, s0, n1, s1 = shape[0], strides[0], shape[1], strides[1]
    return tensor.data_ptr(), n0, s0 * itemsize, n1, s1 * itemsize, shape[-1] * itemsize
