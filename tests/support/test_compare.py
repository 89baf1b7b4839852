"""The comparison behind all other tests catches a planted difference."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from support.comparison.assertions import assert_close, relative_error, weighted_sum

A = torch.tensor([1.0, -20.0], dtype=torch.float64)


@pytest.mark.parametrize(
    "a",
    [
        A + 3e-9,
        A * (1 + 2e-10),
        torch.tensor([1.0, float("nan")], dtype=torch.float64),
        torch.tensor([1.0, float("inf")], dtype=torch.float64),
        A.float(),
        A[:1],
        A[None],
        None,
        (A,),
    ],
    ids=["offset", "factor", "nan", "inf", "dtype", "short", "shape", "none", "tuple"],
)
def test_a_planted_difference_is_caught(a: Any) -> None:
    for left, right in ((a, A), ({"y": [A, a]}, {"y": [A, A]})):
        with pytest.raises(AssertionError):
            assert_close(left, right, 1e-10)


def test_a_difference_in_the_oracle_alone_is_caught() -> None:
    with pytest.raises(AssertionError):
        assert_close(A, torch.full_like(A, float("nan")), 1e-10)
    with pytest.raises(AssertionError):
        assert_close({"a": A, "b": A}, {"a": A}, 1e-10)
    with pytest.raises(AssertionError):
        assert_close(A, None, 1e-10)
    with pytest.raises(AssertionError):
        assert_close(torch.tensor([1]), torch.tensor([2]), 10)


def test_rounding_passes() -> None:
    assert_close(A + 1e-11, A, 1e-10)
    assert_close((A, {"b": None}), (A * (1 + 1e-12), {"b": None}), 1e-10)
    assert_close(torch.zeros(0, 3), torch.zeros(0, 3), 0.0)


def test_distance_is_relative_above_one_and_absolute_below() -> None:
    assert relative_error(torch.tensor([101.0]), torch.tensor([100.0])) == pytest.approx(0.01)
    assert relative_error(torch.tensor([0.02]), torch.tensor([0.01])) == pytest.approx(
        0.01, abs=1e-8
    )


def test_total_sees_every_entry() -> None:
    y = torch.randn(3, 4, 2)
    for index in range(y.numel()):
        other = y.clone()
        other.view(-1)[index] += 1
        assert weighted_sum((y, None)) != weighted_sum((other, None))
