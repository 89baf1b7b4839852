"""The learning rate schedule: constant, then inverse-time decay."""

from __future__ import annotations


def learning_rate(
    initial_rate: float, decay: float | None, decay_start: int | None, step: int
) -> float:
    """Return initial_rate / (1 + max(0, t - t0) / beta), Pascanu et al. 2014, section 5.

    Args:
        initial_rate: the rate before t0.
        decay: beta, in updates; None for a constant rate.
        decay_start: t0, the update after which the validation metric first rose; None before.
        step: t, the updates done.
    """
    if decay is None or decay_start is None:
        return initial_rate
    return initial_rate / (1 + max(0, step - decay_start) / decay)
