"""Negative log-likelihood: nats a time step over all steps of a split, the first one included.

This is the convention of Boulanger-Lewandowski et al. 2012 and Pascanu et al. 2014: the sum over
all steps divided by their number, padding left out; not the mean of the sequences' means.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .metric import Metric, unchanged

if TYPE_CHECKING:
    from torch import Tensor


def summed_nll(kind: str, y: Tensor, target: Tensor, lengths: Tensor) -> tuple[Tensor, int]:
    """Nats of a batch, and its steps."""
    from ...compiler.losses import summed_loss

    if kind == "real":
        raise ValueError("expected a binary or symbol target, got real, which has no likelihood")
    return summed_loss(kind, y, target, lengths)


METRIC = Metric("nll", "nats per step", summed_nll, unchanged)
