"""What a metric is: a value of the mean loss of a step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Metric:
    """A measure of a whole split, the lower the better.

    `target_kinds` are the types of targets that it is for. Losses and scored steps are added up over the
    split, so that each step counts alike in whatever batch it lies; `from_mean_loss` then turns their
    quotient into the metric.
    """

    name: str
    unit: str
    target_kinds: tuple[str, ...]
    from_mean_loss: Callable[[float], float]


def identity(mean: float) -> float:
    """The mean itself."""
    return mean
