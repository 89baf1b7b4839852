"""Large pages under fresh memory."""

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
"""Numbers that are worth asking for."""


@cache
def _load_madvise() -> Callable[[ctypes.c_void_p, ctypes.c_size_t, int], int] | None:
    """What asks Linux for large pages; None elsewhere."""
    if not sys.platform.startswith("linux"):
        return None
    advise = ctypes.CDLL(None).madvise
    advise.restype = ctypes.c_int
    return advise


def advise_huge_pages(tensor: Tensor) -> None:
    """Ask for large pages under fresh memory: small ones cost as much as filling them does."""
    advise, size = _load_madvise(), tensor.numel() * tensor.element_size()
    if advise is not None:
        first = -(-tensor.data_ptr() // _HUGE_PAGE_BYTES) * _HUGE_PAGE_BYTES
        end = (tensor.data_ptr() + size) // _HUGE_PAGE_BYTES * _HUGE_PAGE_BYTES
        # It is advice: what comes of it does not matter.
        advise(ctypes.c_void_p(first), ctypes.c_size_t(max(0, end - first)), _MADV_HUGEPAGE)
