"""The type of a metric: a function of the mean loss per step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Metric:
    """A measure of a whole split; lower is better.

    `target_kinds` are the types of targets that it applies to. Losses and scored steps are summed
    over the split, so that each step has equal weight in any batch; `from_mean_loss` converts their
    quotient into the metric.
    """

    name: str
    unit: str
    target_kinds: tuple[str, ...]
    from_mean_loss: Callable[[float], float]


def identity(mean: float) -> float:
    """Return the mean unchanged."""
    return mean
