"""What an expression stands for while a graph is built."""

from __future__ import annotations

from dataclasses import dataclass

from rnnc.operators.graph.operator_graph import Operand

from .parameters import UnsizedParameter
from .size_inference import Dim


@dataclass(frozen=True, slots=True)
class Literal:
    """A number that is not yet a node, so that constants fold."""

    value: int | float


@dataclass(frozen=True, slots=True)
class Vector:
    """A real vector; numbers that are computed are vectors of one entry.

    `mask` is a vector of 1 where an entry is there and 0 where it is missing, if any may be.
    `log_mask` is the same of a softmax, and of what is a multiple of it: there an entry is 0 where
    none was, and its logarithm is missing again.
    """

    operand: Operand
    size: Dim
    mask: Operand | None = None
    log_mask: Operand | None = None


@dataclass(frozen=True, slots=True)
class SymbolVector:
    """A symbol input at a time: one-hot, but never built as such unless it must be."""

    operand: Operand
    size: Dim
    name: str


@dataclass(frozen=True, slots=True)
class Matrix:
    """A matrix parameter, perhaps transposed."""

    parameter: UnsizedParameter
    transposed: bool = False


@dataclass(frozen=True, slots=True)
class Window:
    """A matrix with one row a step: `length` values of a variable, each `size` wide."""

    operand: Operand
    length: Dim
    size: Dim
    is_symbol: bool
    transposed: bool = False


@dataclass(frozen=True, slots=True)
class TupleValue:
    """Several values."""

    parts: tuple[Value, ...]


Value = Literal | Vector | SymbolVector | Matrix | Window | TupleValue


class ElaborationError(Exception):
    """An expression has no value; why has been reported."""
