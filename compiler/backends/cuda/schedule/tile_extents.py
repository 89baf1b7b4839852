"""Split sizes into tile extents, which Triton requires to be powers of two."""

from __future__ import annotations

from typing import Final

MIN_EXTENT: Final = 16
"""Smallest tile extent of a matmul, in entries of its vector: the shortest K of `tl.dot`."""

MAX_EXTENT: Final = 128
"""Largest tile extent: the accumulators of wider tiles would not fit in registers."""

MIN_TAIL_EXTENT: Final = 64
"""Smallest extent of the last tile of a size above `MAX_EXTENT`; see `split_extents`."""


def split_extents(size: int, minimum: int = MIN_EXTENT) -> tuple[tuple[int, int], ...]:
    """Return (first entry, extent) of each tile; the last one may reach beyond the size.

    A narrow last tile beside wide ones is padded: in its layout all eight warps would hold copies
    of the same weights in registers.
    """
    minimum = max(minimum, MIN_TAIL_EXTENT) if size > MAX_EXTENT else minimum
    tiles: list[tuple[int, int]] = []
    first = 0
    while first < size:
        extent = 1 << (size - first - 1).bit_length()
        tiles.append((first, min(MAX_EXTENT, max(minimum, extent))))
        first += tiles[-1][1]
    return tuple(tiles)


def padded_size(size: int, minimum: int = MIN_EXTENT) -> int:
    """Return the size rounded up to the end of its last tile."""
    first, extent = split_extents(size, minimum)[-1]
    return first + extent
