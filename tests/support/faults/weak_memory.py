"""Triton's interpreter with delayed stores, as weak memory of a GPU within one launch.

The interpreter computes whole tiles in sequence, so that a stage could read what the stage before
it has just written, with or without a barrier. Here stores become visible at the next barrier, or
at the end of the launch: an early reader gets the old values.
"""

from __future__ import annotations

from typing import Any

import pytest


class WeakMemory:
    """Stores that wait for a barrier; barriers can be skipped, by number."""

    def __init__(self) -> None:
        self.pending_stores: list[tuple[Any, ...]] = []
        self.barrier_count = 0
        self.skipped_barriers: frozenset[int] = frozenset()

    def barrier(self) -> None:
        """Make all stores visible, unless this barrier is skipped."""
        self.barrier_count += 1
        if self.barrier_count not in self.skipped_barriers:
            self.flush()

    def flush(self) -> None:
        """Make all stores visible."""
        from triton.runtime import interpreter

        for stored in self.pending_stores:
            interpreter._interpreter.store(*stored)
        self.pending_stores.clear()


def delay_stores(monkeypatch: pytest.MonkeyPatch) -> WeakMemory:
    """Delay stores for the duration of a test."""
    from triton.runtime import interpreter

    late, launch = WeakMemory(), interpreter.GridExecutor.__call__

    def store(builder: Any, pointers: Any, value: Any, mask: Any, *how: Any) -> None:
        late.pending_stores.append((pointers.data, value.data.copy(), mask.data.copy()))

    def launched(kernel: Any, *tensors: Any, **options: Any) -> None:
        launch(kernel, *tensors, **options)
        late.flush()

    builder = interpreter.InterpreterBuilder
    monkeypatch.setattr(builder, "create_masked_store", store)
    monkeypatch.setattr(builder, "create_barrier", lambda builder: late.barrier())
    monkeypatch.setattr(interpreter.GridExecutor, "__call__", launched)
    return late
