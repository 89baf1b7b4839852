"""Launches whose programs wait for each other: their counters, and what became of them."""

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


class CooperativeLaunches:
    """Counters of launches, and whether the programs of each have met.

    A GPU works behind the processor's back, so that a meeting that failed is told by a later call,
    as CUDA's own errors are; until then what it has computed is NaN.
    """

    def __init__(self) -> None:
        self._pending: deque[tuple[Tensor, Any]] = deque()
        self._lock = threading.Lock()

    def allocate_counters(self, groups: int, device: torch.device) -> Tensor:
        """One counter for each group of programs, and after those whether any waited in vain."""
        return torch.zeros((groups + 1) * COUNTER_STRIDE, dtype=torch.int64, device=device)

    def track(self, counters: Tensor) -> None:
        """A launch with these counters is under way.

        Raises:
            RnnError: when this or an earlier one is known to have failed (RNN505).
        """
        said = counters[-COUNTER_STRIDE:][:1]
        done = None
        if counters.device.type == "cuda":
            said = torch.empty(1, dtype=torch.int64, pin_memory=True).copy_(said, non_blocking=True)
            done = torch.cuda.Event()  # type: ignore[no-untyped-call]
            done.record(torch.cuda.current_stream(counters.device))
        with self._lock:
            self._pending.append((said, done))
        self.check()

    def check(self) -> None:
        """Look at the launches that have ended; wait for one where very many have not.

        Raises:
            RnnError: when one has failed (RNN505).
        """
        with self._lock:
            while self._pending:
                said, done = self._pending[0]
                if done is not None and torch.cuda.is_current_stream_capturing():
                    return
                if done is not None and not done.query():
                    if len(self._pending) <= _MAX_PENDING:
                        return
                    done.synchronize()
                self._pending.popleft()
                if int(said[0]):
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
    """All steps of a loop in one launch; where programs are interpreted, level by level.

    sizes: (T, B).
    """
    steps, rows = sizes
    counters = launches.allocate_counters(groups, device)
    if device.type == "cuda":
        launch(steps, rows, 0, steps, MAX_POLLS, counters, LEVEL=-1)
    else:
        for done in range(steps):
            for level in range(levels):
                launch(steps, rows, done, done + 1, MAX_POLLS, counters, LEVEL=level)
    launches.track(counters)
