"""Replay: a call like a recorded one fills a table of addresses and makes one C call."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor

from rnnc.compiler.backends.cpu.specialize.compiled_program import CompiledProgram

from .launch_plan import BLOCK_COUNT, LaunchPlan

MAX_REPLAY_ELEMENTS: Final = 1 << 18
"""Numbers of the blocks of a call up to which replays keep them; larger calls are slow anyway."""


class ReplayWorkspace:
    """Both blocks for one call at a time, and a table for the addresses of its tensors."""

    def __init__(self, plan: LaunchPlan, dtype: torch.dtype) -> None:
        sizes = plan.specialization.block_sizes
        margin = 64 // plan.specialization.itemsize
        self.blocks = [torch.empty(size + margin, dtype=dtype) for size in sizes]
        self.addresses = (ctypes.c_int64 * (BLOCK_COUNT + plan.tensor_count))()
        for index, block in enumerate(self.blocks):
            self.addresses[index] = -(-block.data_ptr() // 64) * 64


class CpuReplay:
    """Runs calls of one launch plan, from any thread (see `replay_protocol.py`)."""

    def __init__(self, program: CompiledProgram, plan: LaunchPlan) -> None:
        self.result_shapes, self.dtype = plan.result_shapes, program.dtype
        # The program keeps its library loaded.
        self._plan, self._program = plan, program
        self._run = program.libraries[0].run_replay
        # A list: other threads cannot interrupt its pop and append.
        self._workspaces: list[ReplayWorkspace] = []

    def run(self, tensors: Sequence[Tensor]) -> None:
        """Run a call on contiguous tensors: arguments, then empty results."""
        try:
            workspace = self._workspaces.pop()
        except IndexError:
            workspace = ReplayWorkspace(self._plan, self.dtype)
        addresses, index = workspace.addresses, BLOCK_COUNT
        for tensor in tensors:
            addresses[index] = tensor.data_ptr()
            index += 1
        self._run(addresses, self._plan.table)
        self._workspaces.append(workspace)
