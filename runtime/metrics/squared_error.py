"""Squared error: summed over the components, the mean over all steps (or answers) of a split."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .metric import Metric, unchanged

if TYPE_CHECKING:
    from torch import Tensor


def summed_error(kind: str, y: Tensor, target: Tensor, lengths: Tensor) -> tuple[Tensor, int]:
    """Squared error of a batch, and its steps."""
    from ...compiler.losses import summed_loss

    if kind != "real":
        raise ValueError(f"expected a real target, got {kind}")
    return summed_loss(kind, y, target, lengths)


METRIC = Metric("squared_error", "squared error per step", summed_error, unchanged)
