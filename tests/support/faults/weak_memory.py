"""Triton's interpreter with a memory as weak as a GPU's may be within one launch.

The interpreter computes whole tiles one after the other, so that a stage may read what the one
before it has just written, barrier or not. Here nobody sees what is stored before the next barrier,
or the end of the launch: whoever reads too early finds what was there before.
"""

from __future__ import annotations

from typing import Any

import pytest


class WeakMemory:
    """Stores that wait for a barrier; some barriers can be left out, by their number."""

    def __init__(self) -> None:
        self.pending_stores: list[tuple[Any, ...]] = []
        self.barrier_count = 0
        self.skipped_barriers: frozenset[int] = frozenset()

    def barrier(self) -> None:
        """Everything that was stored is seen from now on."""
        self.barrier_count += 1
        if self.barrier_count not in self.skipped_barriers:
            self.flush()

    def flush(self) -> None:
        """As a barrier that cannot be left out."""
        from triton.runtime import interpreter

        for stored in self.pending_stores:
            interpreter._interpreter.store(*stored)
        self.pending_stores.clear()


def delay_stores(monkeypatch: pytest.MonkeyPatch) -> WeakMemory:
    """Make stores late for as long as a test runs."""
    from triton.runtime import interpreter

    late, launch = WeakMemory(), interpreter.GridExecutor.__call__

    def store(builder: Any, pointers: Any, value: Any, mask: Any, *how: Any) -> None:
        late.pending_stores.append((pointers.data, value.data.copy(), mask.data.copy()))

    def launched(kernel: Any, *tensors: Any, **said: Any) -> None:
        launch(kernel, *tensors, **said)
        late.flush()

    builder = interpreter.InterpreterBuilder
    monkeypatch.setattr(builder, "create_masked_store", store)
    monkeypatch.setattr(builder, "create_barrier", lambda builder: late.barrier())
    monkeypatch.setattr(interpreter.GridExecutor, "__call__", launched)
    return late
