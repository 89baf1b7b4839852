"""Metrics against their definitions."""

from __future__ import annotations

import math

import pytest
import torch

from rnnc.runtime.metrics import find_metric

Y = torch.tensor([[[0.0, 0.0, 0.0, 0.0]] * 2] * 3)
TARGET = torch.tensor([[0, 1], [2, 3], [1, 0]])
LENGTHS = torch.tensor([3, 2])


@pytest.mark.parametrize(
    ("name", "expected"),
    [("nll", math.log(4)), ("bits_per_character", 2.0), ("perplexity", 4.0)],
)
def test_a_network_that_knows_nothing_of_four_symbols(name, expected):
    metric = find_metric(name)
    total, count = metric.summed("symbol", Y, TARGET, LENGTHS)
    assert count == 5
    assert metric.value(total.item() / count) == pytest.approx(expected)


def test_nll_is_the_mean_over_steps_not_over_sequences():
    y = torch.tensor([[[3.0], [0.0]], [[3.0], [9.0]], [[3.0], [9.0]]])
    target = torch.zeros_like(y)
    total, count = find_metric("nll").summed("binary", y, target, torch.tensor([3, 1]))
    assert count == 4
    per_step = [math.log1p(math.exp(3))] * 3 + [math.log(2)]
    assert total.item() == pytest.approx(sum(per_step))


def test_squared_error_sums_components_and_counts_answers():
    y = torch.tensor([[1.0, 2.0], [0.0, 0.0]])
    total, count = find_metric("squared_error").summed("real", y, torch.zeros(2, 2), LENGTHS)
    assert (total.item(), count) == (5.0, 2)


@pytest.mark.parametrize(("name", "kind"), [("nll", "real"), ("squared_error", "binary")])
def test_a_metric_refuses_targets_that_it_is_not_for(name, kind):
    with pytest.raises(ValueError, match="expected a"):
        find_metric(name).summed(kind, Y, Y, LENGTHS)


def test_perplexity_of_a_hopeless_network_is_infinite():
    assert find_metric("perplexity").value(1e4) == math.inf
