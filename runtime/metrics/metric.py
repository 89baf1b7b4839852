"""What a metric is: a sum and a count a batch, and a value of their quotient."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Metric:
    """A measure of a whole split, the lower the better.

    `summed(kind, y, target, lengths)` takes a batch as `rnnc.compiler.losses.mean_loss` does and
    gives a sum and a count. Sums and counts are added up over the split, so that each step counts
    alike in whatever batch it lies; `value` then turns their quotient into the metric.
    """

    name: str
    unit: str
    summed: Callable[[str, Tensor, Tensor, Tensor], tuple[Tensor, int]]
    value: Callable[[float], float]


def unchanged(mean: float) -> float:
    """The mean itself."""
    return mean
