"""The parameters of a cell by name, and the table of all cells."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

Steps = list[Any]
Cell = Callable[["Parameters", Steps], Any]

CELLS: dict[str, Cell] = {}


class Parameters:
    """`p.Wi` is the parameter `Wi`; `p / "F1"` are those of the part `F1`."""

    def __init__(self, values: Mapping[str, Tensor], prefix: str = "") -> None:
        self._values, self._prefix = values, prefix

    def __getattr__(self, name: str) -> Tensor:
        try:
            return self._values[self._prefix + name]
        except KeyError:
            raise AttributeError(name) from None

    def __truediv__(self, part: str) -> Parameters:
        return Parameters(self._values, f"{self._prefix}{part}.")

    def zeros(self, size: int) -> Tensor:
        """A vector of zeros."""
        return next(iter(self._values.values())).new_zeros(size)


def cell(function: Cell) -> Cell:
    """Put a cell into the table, under its own name."""
    CELLS[function.__name__] = function
    return function


def at(series: Steps, t: int, before: Tensor) -> Tensor:
    """What a series was at step t; `before` outside of the segment."""
    return series[t] if 0 <= t < len(series) else before


def affine(p: Parameters, gate: str, x: Tensor, h: Tensor) -> Tensor:
    """W x + U h + b of a gate, whose letter stands behind each."""
    return getattr(p, f"W{gate}") @ x + getattr(p, f"U{gate}") @ h + getattr(p, f"b{gate}")


def column(matrix: Tensor, symbol: int) -> Tensor:
    """The column of a symbol."""
    return matrix[:, int(symbol)]


def weighted(weights: Tensor, vectors: Steps) -> Tensor:
    """The sum of vectors by their weights."""
    return torch.stack([w * v for w, v in zip(weights, vectors, strict=True)]).sum(0)
