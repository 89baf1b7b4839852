"""Sizes cut into powers of two, the only extents that a tile may have."""

from __future__ import annotations

from typing import Final

LEAST: Final = 16
"""The least extent of a product's tile, in entries of its vector."""

MOST: Final = 128
"""The greatest: more would not stay in registers."""


def extents_of(size: int, least: int = LEAST, most: int = MOST) -> tuple[tuple[int, int], ...]:
    """(first entry, extent) of each part; the last one may reach beyond the end.

    200 -> 128 + 64 + 16, which is 8 too many, where the next power of two would be 56.
    """
    found: list[tuple[int, int]] = []
    first = 0
    while first < size:
        rest = size - first
        extent = min(most, max(least, 1 << (rest.bit_length() - 1)))
        found.append((first, extent))
        first += extent
    return tuple(found)


def padded(size: int, least: int = LEAST, most: int = MOST) -> int:
    """How many entries those parts have together."""
    first, extent = extents_of(size, least, most)[-1]
    return first + extent
