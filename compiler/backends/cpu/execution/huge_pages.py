"""Large pages under fresh memory."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from functools import cache
from typing import Final

from torch import Tensor

_MADV_HUGEPAGE: Final = 14
_LARGE_PAGE: Final = 1 << 21
LARGE: Final = 1 << 20
"""Numbers that are worth asking for."""


@cache
def _advise() -> Callable[[ctypes.c_void_p, ctypes.c_size_t, int], int] | None:
    """What asks Linux for large pages; None elsewhere."""
    if not sys.platform.startswith("linux"):
        return None
    advise = ctypes.CDLL(None).madvise
    advise.restype = ctypes.c_int
    return advise


def in_large_pages(tensor: Tensor) -> None:
    """Ask for large pages under fresh memory: small ones cost as much as filling them does."""
    advise, size = _advise(), tensor.numel() * tensor.element_size()
    if advise is not None:
        first = -(-tensor.data_ptr() // _LARGE_PAGE) * _LARGE_PAGE
        end = (tensor.data_ptr() + size) // _LARGE_PAGE * _LARGE_PAGE
        # It is advice: what comes of it does not matter.
        advise(ctypes.c_void_p(first), ctypes.c_size_t(max(0, end - first)), _MADV_HUGEPAGE)
