"""Sizes cut into powers of two, the only extents that a tile may have."""

from __future__ import annotations

from typing import Final

LEAST: Final = 16
"""The least extent of a product's tile, in entries of its vector."""

MOST: Final = 128
"""The greatest: more would not stay in registers."""

TAIL: Final = 64
"""The least extent of what is left of a size that is more than that."""


def extents_of(size: int, least: int = LEAST) -> tuple[tuple[int, int], ...]:
    """(first entry, extent) of each part; the last one may reach beyond the end.

    Beside wide parts a narrow one is not cut to its size: eight warps have no layout for its
    product in which they do not all keep the same weights in registers.
    """
    least = max(least, TAIL) if size > MOST else least
    found: list[tuple[int, int]] = []
    first = 0
    while first < size:
        extent = 1 << (size - first - 1).bit_length()
        found.append((first, min(MOST, max(least, extent))))
        first += found[-1][1]
    return tuple(found)


def padded(size: int, least: int = LEAST) -> int:
    """How many entries those parts have together."""
    first, extent = extents_of(size, least)[-1]
    return first + extent
