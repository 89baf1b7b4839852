"""The learning rate at each update."""

from __future__ import annotations


def learning_rate(
    start: float, decay: float | None, decaying_since: int | None, step: int
) -> float:
    """Constant, then falling: start / (1 + max(0, t - t0) / beta), Pascanu et al. 2014, section 5.

    Args:
        start: the rate before t0.
        decay: beta, in updates; None for a constant rate.
        decaying_since: t0, the update after which the validation metric first rose; None before.
        step: t, the updates done.
    """
    if decay is None or decaying_since is None:
        return start
    return start / (1 + max(0, step - decaying_since) / decay)
