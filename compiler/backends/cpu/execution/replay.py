"""Calls that differ from an earlier one in addresses alone: these into a table, one call of C."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor

from rnnc.compiler.backends.cpu.specialize.compiled_program import CompiledProgram

from .launch_plan import BLOCK_COUNT, LaunchPlan

MAX_REPLAY_ELEMENTS: Final = 1 << 18
"""Numbers up to which a call's memory is kept for the next one; a larger call is slow by itself."""


class ReplayWorkspace:
    """Memory for one call at a time, and room for the addresses of its tensors."""

    def __init__(self, tape: LaunchPlan, dtype: torch.dtype) -> None:
        sizes = tape.specialization.block_sizes
        line = 64 // tape.specialization.itemsize
        self.blocks = [torch.empty(size + line, dtype=dtype) for size in sizes]
        self.addresses = (ctypes.c_int64 * (BLOCK_COUNT + tape.tensor_count))()
        for at, block in enumerate(self.blocks):
            self.addresses[at] = -(-block.data_ptr() // 64) * 64


class CpuReplay:
    """Runs such calls, from any thread: see `repeating.py`."""

    def __init__(self, program: CompiledProgram, tape: LaunchPlan) -> None:
        self.result_shapes, self.dtype = tape.result_shapes, program.dtype
        # The library, too, must stay.
        self._plan, self._program = tape, program
        self._run = program.libraries[0].run_again
        # A list, for taking from it and adding to it cannot be interrupted by another thread.
        self._workspaces: list[ReplayWorkspace] = []

    def run(self, tensors: Sequence[Tensor]) -> None:
        """Run a call on contiguous tensors."""
        try:
            frame = self._workspaces.pop()
        except IndexError:
            frame = ReplayWorkspace(self._plan, self.dtype)
        addresses, at = frame.addresses, BLOCK_COUNT
        for tensor in tensors:
            addresses[at] = tensor.data_ptr()
            at += 1
        self._run(addresses, self._plan.table)
        self._workspaces.append(frame)
