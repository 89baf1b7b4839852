"""Fill uninitialized memory with NaN, so that reads before writes show in every run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import nan

import pytest
import torch
from torch import Tensor

from rnnc.compiler.backends.cpu.execution.replay import CpuReplay
from rnnc.compiler.backends.cpu.specialize.compiled_program import CompiledProgram


@contextmanager
def poison_memory() -> Iterator[None]:
    """Fill scratch memory, residuals and results with NaN before each pass.

    Uses torch's own switch for all memory that it allocates, in any thread (integers become the
    largest there are), and patches the memory that the `cpu` backend keeps between calls.
    """
    spare, run = CompiledProgram.take_workspace, CpuReplay.run

    def spare_of_nan(self: CompiledProgram, size: int) -> Tensor | None:
        buffer = spare(self, size)
        return None if buffer is None else buffer.fill_(nan)

    def run_on_nan(self: CpuReplay, tensors: Sequence[Tensor]) -> None:
        for frame in self._workspaces:
            for block in frame.blocks:
                block.fill_(nan)
        run(self, tensors)

    before = torch.are_deterministic_algorithms_enabled()
    only_warn = torch.is_deterministic_algorithms_warn_only_enabled()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CompiledProgram, "take_workspace", spare_of_nan)
        patch.setattr(CpuReplay, "run", run_on_nan)
        patch.setattr(torch.utils.deterministic, "fill_uninitialized_memory", True)
        torch.use_deterministic_algorithms(True, warn_only=True)
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(before, warn_only=only_warn)
