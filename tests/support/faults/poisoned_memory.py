"""Fill uninitialized memory with NaN, so that reads before writes show in every run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import nan

import pytest
import torch
from torch import Tensor

from rnnc.compiler.backends.cpu.execution.replay import CpuReplay
from rnnc.compiler.backends.cpu.specialize.workspace_pool import WorkspacePool


@contextmanager
def poison_memory() -> Iterator[None]:
    """Fill scratch memory, residuals and results with NaN before each pass.

    Uses torch's own switch for all memory that it allocates, in any thread (integers become the
    largest there are), and patches the memory that the `cpu` backend keeps between calls.
    """
    take, run = WorkspacePool.take, CpuReplay.run

    def take_nan(self: WorkspacePool, size: int) -> Tensor | None:
        workspace = take(self, size)
        return None if workspace is None else workspace.fill_(nan)

    def run_on_nan(self: CpuReplay, tensors: Sequence[Tensor]) -> None:
        for workspace in self._workspaces:
            for block in workspace.blocks:
                block.fill_(nan)
        run(self, tensors)

    before = torch.are_deterministic_algorithms_enabled()
    only_warn = torch.is_deterministic_algorithms_warn_only_enabled()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(WorkspacePool, "take", take_nan)
        patch.setattr(CpuReplay, "run", run_on_nan)
        patch.setattr(torch.utils.deterministic, "fill_uninitialized_memory", True)
        torch.use_deterministic_algorithms(True, warn_only=True)
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(before, warn_only=only_warn)
