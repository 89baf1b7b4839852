"""Track the barrier counters of cooperative launches and report timeouts (RNN505)."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Final

import torch
from torch import Tensor

from rnnc.compiler.backends.cuda.codegen.grid_barrier import COUNTER_STRIDE, MAX_POLLS
from rnnc.grammar.diagnostics.errors import fail

_MAX_PENDING: Final = 64
"""Launches in flight before `check` waits for the oldest; each holds a word of pinned memory."""


class CooperativeLaunches:
    """Barrier counters of launches in flight.

    A GPU runs asynchronously, so a failed barrier is reported by a later call, as CUDA errors are;
    the results of the failed launch are NaN.
    """

    def __init__(self) -> None:
        self._pending: deque[tuple[Tensor, Any]] = deque()
        self._lock = threading.Lock()

    def allocate_counters(self, groups: int, device: torch.device) -> Tensor:
        """Allocate a zeroed counter per row group, and an error flag behind them."""
        return torch.zeros((groups + 1) * COUNTER_STRIDE, dtype=torch.int64, device=device)

    def track(self, counters: Tensor) -> None:
        """Watch the error flag of a launch.

        Raises:
            RnnError: when a barrier of this or an earlier launch has timed out (RNN505).
        """
        error_flag = counters[-COUNTER_STRIDE:][:1]
        event = None
        if counters.device.type == "cuda":
            error_flag = torch.empty(1, dtype=torch.int64, pin_memory=True).copy_(
                error_flag, non_blocking=True
            )
            event = torch.cuda.Event()  # type: ignore[no-untyped-call]
            event.record(torch.cuda.current_stream(counters.device))
        with self._lock:
            self._pending.append((error_flag, event))
        self.check()

    def check(self) -> None:
        """Read the error flags of finished launches; wait if too many are in flight.

        Raises:
            RnnError: when a barrier has timed out (RNN505).
        """
        with self._lock:
            while self._pending:
                error_flag, event = self._pending[0]
                if event is not None and torch.cuda.is_current_stream_capturing():
                    return
                if event is not None and not event.query():
                    if len(self._pending) <= _MAX_PENDING:
                        return
                    event.synchronize()
                self._pending.popleft()
                if int(error_flag[0]):
                    self._pending.clear()
                    fail(
                        "RNN505",
                        "programs of a kernel on the GPU waited in vain for each other; what it "
                        "computed is NaN",
                        hint="RNNC_CUDA_TIER=graph runs loops without waiting",
                    )


def run_cooperative(
    launch: Callable[..., None],
    levels: int,
    groups: int,
    sizes: tuple[int, int],
    launches: CooperativeLaunches,
    device: torch.device,
) -> None:
    """Run all steps of a grid-persistent loop in one launch; level by level if interpreted.

    sizes: (T, B).
    """
    steps, batch_size = sizes
    counters = launches.allocate_counters(groups, device)
    if device.type == "cuda":
        launch(steps, batch_size, 0, steps, MAX_POLLS, counters, LEVEL=-1)
    else:
        for step in range(steps):
            for level in range(levels):
                launch(steps, batch_size, step, step + 1, MAX_POLLS, counters, LEVEL=level)
    launches.track(counters)
