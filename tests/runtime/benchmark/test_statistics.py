"""Medians, quartiles, and ratios of pairs."""

from __future__ import annotations

import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnnc.runtime.benchmark.measurement.statistics import Summary, summarize, summarize_ratios

TIMES = st.lists(st.floats(1e-6, 1e3), min_size=1, max_size=20)


@given(TIMES)
def test_half_of_the_values_lie_between_the_quartiles(values: list[float]) -> None:
    summary = summarize(values)
    assert summary.median == pytest.approx(statistics.median(values))
    inside = sum(summary.low * (1 - 1e-9) <= v <= summary.high * (1 + 1e-9) for v in values)
    assert min(values) <= summary.low <= summary.median <= summary.high <= max(values)
    assert 2 * inside >= len(values) - 2


def test_figures_of_a_known_series() -> None:
    summary = summarize([5.0, 1.0, 4.0, 2.0, 3.0])
    assert summary == Summary(3.0, 2.0, 4.0)
    assert summary.spread == pytest.approx(2 / 3)
    assert Summary(0.0, 0.0, 0.0).spread == 0


@given(TIMES, st.floats(0.1, 10))
def test_what_slows_a_whole_round_cancels(values: list[float], factor: float) -> None:
    ratios = summarize_ratios([factor * v for v in values], values)
    assert ratios.low == pytest.approx(factor)
    assert ratios.high == pytest.approx(factor)


def test_a_ratio_of_medians_would_be_another_figure() -> None:
    values, base = [1.0, 1.0, 10.0], [2.0, 20.0, 20.0]
    assert summarize_ratios(base, values).median == 2.0
    assert summarize(base).median / summarize(values).median == 20.0


def test_nothing_measured_is_no_figure() -> None:
    with pytest.raises(ValueError, match="expected at least one measurement"):
        summarize([])
    with pytest.raises(ValueError, match="expected 2 rounds, got 1"):
        summarize_ratios([1.0], [1.0, 2.0])
