"""Block sizes of the weight gradient GEMM (`csrc/weight_grad_gemm.h`); its packing workspace."""

from __future__ import annotations

from typing import Final

DEPTH_BLOCK: Final = 128
"""Rows of a pass: a block of the right operand then stays in the first-level cache."""

COLUMN_BLOCKS: Final = 16
"""Column blocks, of all right operands, that are packed at a time."""

DEPTH_PASSES: Final = 32
"""Passes of one column block that are packed at a time."""

ROW_TILES: Final = 16
"""Tiles of the left operand that are packed at a time."""

_TILE_ROWS: Final = 6
"""Rows of a micro-kernel tile (`csrc/gemm_microkernel.h`)."""


def packing_size(widths: list[int], columns: int, rows: int) -> int:
    """Return the numbers that a thread packs at a time to sum over some rows.

    widths: of the right operands.
    columns: of one block of a right operand.
    """
    blocks = min(COLUMN_BLOCKS, sum(-(-width // columns) for width in widths))
    depth = min(DEPTH_PASSES * DEPTH_BLOCK, blocks * rows)
    return depth * columns + ROW_TILES * _TILE_ROWS * DEPTH_BLOCK
