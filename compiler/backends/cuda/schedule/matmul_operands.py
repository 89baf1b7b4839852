"""The products of a stage: which entries of a vector meet which of a matrix."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rnnc.compiler.ir.dataflow import Flow, Read
from rnnc.compiler.schedule.plan import Plan

from .kernel_partition import Stage
from .slice_decomposition import Piece


@dataclass(frozen=True, slots=True)
class Product:
    """Entries `first` to `first + depth` of a vector, times a part of a matrix.

    matrix: a value of a call, whose entry [k, u] lies at `start + k down + u along`.
    block: how far apart blocks lie, where all of a block-diagonal matrix is one product; then
        `first`, `depth` and `start` are those of the first block.
    """

    piece: Piece
    vector: Read
    first: int
    depth: int
    matrix: int
    start: int
    down: int
    along: int
    block: int = 0

    def address(self, base: str, column: str = "u") -> str:
        """Where entries [k, u] of the matrix lie, as Triton source."""
        start = f"{self.start} + " if self.start else ""
        down, along = (f" * {step}" if step != 1 else "" for step in (self.down, self.along))
        return f"{base} + {start}(k{down})[:, None] + ({column}{along})[None, :]"


def products_of(plan: Plan, stage: Stage) -> Sequence[Product]:
    """The products of a stage, in its order."""
    values = plan.flow.values
    return [
        _product(plan.flow, piece)
        for piece in stage.pieces
        if values[piece.value].operation == "matmul"
    ]


def _product(flow: Flow, piece: Piece) -> Product:
    value = flow.values[piece.value]
    matrix = value.operands[0].value
    shape = flow.values[matrix].shape
    transposed = bool(value.attributes[0])
    rows, columns = shape[-2:]
    depth, across = (rows, columns) if transposed else (columns, rows)
    down, along = (columns, 1) if transposed else (1, columns)
    vector = value.operands[1]
    if piece.width > across:
        return Product(piece, vector, 0, depth, matrix, 0, down, along, rows * columns)
    block = piece.start // across if len(shape) == 3 else 0
    first = piece.start - block * across
    start = block * rows * columns + first * (1 if transposed else columns)
    return Product(piece, vector, block * depth, depth, matrix, start, down, along)
