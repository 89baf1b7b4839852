"""Huge pages (madvise MADV_HUGEPAGE) under fresh memory, on Linux."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from functools import cache
from typing import Final

from torch import Tensor

_MADV_HUGEPAGE: Final = 14
_HUGE_PAGE_BYTES: Final = 1 << 21
MIN_HUGE_PAGE_NUMBERS: Final = 1 << 20
"""Numbers from which a block spans two huge pages or more, so that whole ones lie in it."""


@cache
def _load_madvise() -> Callable[[ctypes.c_void_p, ctypes.c_size_t, int], int] | None:
    """Return `madvise` of the C library; None where there are no huge pages."""
    if not sys.platform.startswith("linux"):
        return None
    madvise = ctypes.CDLL(None).madvise
    madvise.restype = ctypes.c_int
    return madvise


def advise_huge_pages(tensor: Tensor) -> None:
    """Advise huge pages for fresh memory: faults of small pages cost as much as filling them."""
    madvise, size = _load_madvise(), tensor.numel() * tensor.element_size()
    if madvise is not None:
        start = -(-tensor.data_ptr() // _HUGE_PAGE_BYTES) * _HUGE_PAGE_BYTES
        end = (tensor.data_ptr() + size) // _HUGE_PAGE_BYTES * _HUGE_PAGE_BYTES
        # Without huge pages the memory is as good, only slower: the result does not matter.
        madvise(ctypes.c_void_p(start), ctypes.c_size_t(max(0, end - start)), _MADV_HUGEPAGE)
