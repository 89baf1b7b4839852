"""Values of expressions during elaboration."""

from __future__ import annotations

from dataclasses import dataclass

from rnnc.operators.graph.operator_graph import Operand

from .parameters import UnsizedParameter
from .size_inference import Dim


@dataclass(frozen=True, slots=True)
class Literal:
    """Number without a node, so that constants fold."""

    value: int | float


@dataclass(frozen=True, slots=True)
class Vector:
    """Real vector; computed numbers are vectors of one entry.

    mask: a vector of 1 for entries that exist and 0 for missing ones; None if all exist.
    log_mask: mask for the logarithm. A softmax, and each multiple of it, has 0 in missing entries,
    whose logarithm is missing again.
    """

    operand: Operand
    size: Dim
    mask: Operand | None = None
    log_mask: Operand | None = None


@dataclass(frozen=True, slots=True)
class SymbolVector:
    """Symbol input at a time; becomes a one-hot vector only if one is needed."""

    operand: Operand
    size: Dim
    name: str


@dataclass(frozen=True, slots=True)
class Matrix:
    """Matrix parameter, transposed or not."""

    parameter: UnsizedParameter
    transposed: bool = False


@dataclass(frozen=True, slots=True)
class Window:
    """Matrix with one row per step: `length` values of a variable, each of `size` entries."""

    operand: Operand
    length: Dim
    size: Dim
    is_symbol: bool
    transposed: bool = False


@dataclass(frozen=True, slots=True)
class TupleValue:
    """Tuple of values."""

    parts: tuple[Value, ...]


Value = Literal | Vector | SymbolVector | Matrix | Window | TupleValue


class ElaborationError(Exception):
    """An expression has no value; the reason has been reported."""
