"""Sizes cut into powers of two, the only extents that a tile may have."""

from __future__ import annotations

from typing import Final

MIN_EXTENT: Final = 16
"""The least extent of a product's tile, in entries of its vector."""

MAX_EXTENT: Final = 128
"""The greatest: more would not stay in registers."""

MIN_TAIL_EXTENT: Final = 64
"""The least extent of what is left of a size that is more than that."""


def split_extents(size: int, minimum: int = MIN_EXTENT) -> tuple[tuple[int, int], ...]:
    """(first entry, extent) of each part; the last one may reach beyond the end.

    Beside wide parts a narrow one is not cut to its size: eight warps have no layout for its
    product in which they do not all keep the same weights in registers.
    """
    minimum = max(minimum, MIN_TAIL_EXTENT) if size > MAX_EXTENT else minimum
    found: list[tuple[int, int]] = []
    first = 0
    while first < size:
        extent = 1 << (size - first - 1).bit_length()
        found.append((first, min(MAX_EXTENT, max(minimum, extent))))
        first += found[-1][1]
    return tuple(found)


def padded_size(size: int, minimum: int = MIN_EXTENT) -> int:
    """How many entries those parts have together."""
    first, extent = split_extents(size, minimum)[-1]
    return first + extent
