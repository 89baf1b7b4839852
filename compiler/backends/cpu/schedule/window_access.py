"""Which rows of a window a kernel reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from rnnc.compiler.ir.dataflow import Operand, Value
from rnnc.compiler.ir.ops import WINDOW_OPS


def window_key(value: Value) -> WindowKey | None:
    """The table of rows that an operation needs."""
    if value.operation not in WINDOW_OPS:
        return None
    first, last = (int(end) for end in value.attributes[:2])
    return ("readers" if value.operation == "unmix" else "rows"), first, last


def non_window_operands(value: Value) -> Sequence[Operand]:
    """What a value reads but for the ends of windows."""
    if value.operation in {"unmix", "unmix_history"}:
        return ()
    return value.operands[2:] if value.operation in WINDOW_OPS else value.operands


def window_multiplies(value: Value) -> int:
    """About how many multiplications a row of an operation takes to look through its window."""
    if value.operation not in WINDOW_OPS:
        return 0
    first, last = (int(end) for end in value.attributes[:2])
    return (first - last + 1) * value.shape[0]


WindowKey = tuple[Literal["rows", "readers"], int, int]
"""The rows of a window from `first` to `last` steps back, or the readers whose window has a row."""
