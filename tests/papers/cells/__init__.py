"""Cells of papers in PyTorch, written from their equations: one segment of one row at a time.

A cell is a function of its parameters, by the letters of its paper, and of the inputs of a segment,
a list with one entry a step. It gives the outputs, a list as long, and for a cell with a loss of
its own that term at each step. A batch is its rows, and a reset begins another segment, so that
what a compiled model does with them is held against plain loops that know neither.
"""

from __future__ import annotations

from papers.cells.parameters import CELLS, Parameters

__all__ = ["CELLS", "Parameters"]

from . import attention, bidirectional, delayed, gated, linear, lstm, simple, stacked  # noqa: F401
