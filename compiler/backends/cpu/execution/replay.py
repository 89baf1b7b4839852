"""Calls that differ from an earlier one in addresses alone: these into a table, one call of C."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor

from rnnc.compiler.backends.cpu.specialize.compiled_program import Program

from .launch_plan import BLOCKS, Tape

SMALL: Final = 1 << 18
"""Numbers up to which a call's memory is kept for the next one; a larger call is slow by itself."""


class Frame:
    """Memory for one call at a time, and room for the addresses of its tensors."""

    def __init__(self, tape: Tape, dtype: torch.dtype) -> None:
        sizes = tape.geometry.sizes
        line = 64 // tape.geometry.item
        self.blocks = [torch.empty(size + line, dtype=dtype) for size in sizes]
        self.addresses = (ctypes.c_int64 * (BLOCKS + tape.tensors))()
        for at, block in enumerate(self.blocks):
            self.addresses[at] = -(-block.data_ptr() // 64) * 64


class Again:
    """Runs such calls, from any thread: see `repeating.py`."""

    def __init__(self, program: Program, tape: Tape) -> None:
        self.shapes, self.dtype = tape.shapes, program.dtype
        # The library, too, must stay.
        self._tape, self._program = tape, program
        self._run = program.libraries[0].run_again
        # A list, for taking from it and adding to it cannot be interrupted by another thread.
        self._frames: list[Frame] = []

    def run(self, tensors: Sequence[Tensor]) -> None:
        """Run a call on contiguous tensors."""
        try:
            frame = self._frames.pop()
        except IndexError:
            frame = Frame(self._tape, self.dtype)
        addresses, at = frame.addresses, BLOCKS
        for tensor in tensors:
            addresses[at] = tensor.data_ptr()
            at += 1
        self._run(addresses, self._tape.table)
        self._frames.append(frame)
