"""Summaries of repeated measurements: medians, quartiles, and ratios of paired rounds."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Summary:
    """Median and quartiles of measurements, in their own unit."""

    median: float
    low: float
    high: float

    @property
    def spread(self) -> float:
        """Interquartile range over the median; 0 for a median of 0."""
        return (self.high - self.low) / self.median if self.median else 0.0


def summarize(values: Sequence[float]) -> Summary:
    """Return median and quartiles, interpolated between values.

    Raises:
        ValueError: when there are no values.
    """
    if not values:
        raise ValueError("expected at least one measurement, got none")
    if len(values) == 1:
        return Summary(values[0], values[0], values[0])
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return Summary(middle, low, high)


def summarize_ratios(values: Sequence[float], base: Sequence[float]) -> Summary:
    """Summarize ratios to the base in the same round: effects on a whole round cancel.

    Raises:
        ValueError: when the rounds are not the same, or there are none.
    """
    if len(values) != len(base):
        raise ValueError(f"expected {len(base)} rounds, got {len(values)}")
    return summarize([a / b for a, b in zip(values, base, strict=True)])
