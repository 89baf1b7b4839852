"""Scratch memory that outlives its call: the next call of the same program takes it over.

Fresh memory of megabytes costs page faults at its first use, more than a small pass computes.
"""

from __future__ import annotations

from torch import Tensor

MIN_POOLED_NUMBERS = 1 << 20
"""Numbers of a block from which page faults show; smaller ones the allocator recycles by itself."""


def is_worth_pooling(size: int) -> bool:
    """Return true for blocks so large that fresh memory would cost more than keeping them."""
    return size >= MIN_POOLED_NUMBERS


class WorkspacePool:
    """At most one idle workspace, shared by all threads."""

    def __init__(self) -> None:
        self._idle: list[Tensor] = []

    def take(self, size: int) -> Tensor | None:
        """Remove and return the idle workspace; None where it is missing or too small."""
        if not self._idle:
            return None
        try:
            workspace = self._idle.pop()
        except IndexError:  # another thread was faster
            return None
        return workspace if workspace.numel() >= size else None

    def give_back(self, workspace: Tensor) -> None:
        """Keep a workspace for the next call, unless it is small or one is idle already."""
        if workspace.numel() >= MIN_POOLED_NUMBERS and not self._idle:
            self._idle.append(workspace)
