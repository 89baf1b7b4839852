"""How sums of outer products are blocked (`outer.h`), and the room that it takes."""

from __future__ import annotations

from typing import Final

DEPTH_BLOCK: Final = 128
"""Rows of a pass: a block of the right operand then stays in the nearest cache."""

COLUMN_BLOCKS: Final = 16
"""Blocks of columns, of all right operands, that are packed at a time."""

DEPTH_PASSES: Final = 32
"""Passes of one block that are packed at a time."""

ROW_TILES: Final = 16
"""Tiles of the left operand that are packed at a time."""


def packing_size(widths: list[int], columns: int, rows: int) -> int:
    """How many numbers a thread packs at a time for sums over so many rows (`outer.h`).

    widths: of the right operands. columns: of a block of one of them.
    """
    blocks = min(COLUMN_BLOCKS, sum(-(-width // columns) for width in widths))
    deep = min(DEPTH_PASSES * DEPTH_BLOCK, blocks * rows)
    return deep * columns + ROW_TILES * 6 * DEPTH_BLOCK
