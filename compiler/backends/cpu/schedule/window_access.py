"""Window access: keys of the index tables that operations on sliding windows need; their cost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from rnnc.compiler.ir.dataflow import Operand, Value
from rnnc.compiler.ir.ops import WINDOW_OPS

WindowKey = tuple[Literal["rows", "readers"], int, int]
"""The rows of a window from `first` to `last` steps back, or the readers whose window has a row."""


def window_key(value: Value) -> WindowKey | None:
    """Return the key of the window index that an operation needs; None for other operations."""
    if value.operation not in WINDOW_OPS:
        return None
    first, last = (int(bound) for bound in value.attributes[:2])
    return ("readers" if value.operation == "unmix" else "rows"), first, last


def non_window_operands(value: Value) -> Sequence[Operand]:
    """Return the operands that are read at their own step, not through a window."""
    if value.operation in {"unmix", "unmix_history"}:
        return ()
    return value.operands[2:] if value.operation in WINDOW_OPS else value.operands


def window_multiplies(value: Value) -> int:
    """Estimate the multiplications that one row spends on its window."""
    if value.operation not in WINDOW_OPS:
        return 0
    first, last = (int(bound) for bound in value.attributes[:2])
    return (first - last + 1) * value.shape[0]
