"""Metrics against their definitions."""

from __future__ import annotations

import math

import pytest

from rnnc.runtime.metrics import find_metric


@pytest.mark.parametrize(
    ("name", "expected"),
    [("nll", math.log(4)), ("bits_per_character", 2.0), ("perplexity", 4.0)],
)
def test_a_network_that_knows_nothing_of_four_symbols(name, expected):
    assert find_metric(name).from_mean_loss(math.log(4)) == pytest.approx(expected)


def test_a_likelihood_is_none_of_real_numbers_and_a_squared_error_of_nothing_else():
    for name in ("nll", "bits_per_character", "perplexity"):
        assert find_metric(name).target_kinds == ("binary", "symbol")
    assert find_metric("squared_error").target_kinds == ("real",)


def test_perplexity_of_a_hopeless_network_is_infinite():
    assert find_metric("perplexity").from_mean_loss(1e4) == math.inf
