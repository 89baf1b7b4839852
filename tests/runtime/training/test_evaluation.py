"""Evaluation: each step counts alike, however sequences are batched."""

from __future__ import annotations

import pytest
import torch

from rnnc.compiler.losses import step_losses
from rnnc.runtime.training import evaluation
from rnnc.runtime.training.evaluation import evaluate
from support.training import CHANCY, CHORALES, begin


@pytest.mark.parametrize("rows", [1, 2, 64])
def test_the_metric_is_the_sum_over_all_steps_by_their_number(tmp_path, monkeypatch, rows):
    training = begin(tmp_path)
    examples = training.problem.load("train")
    total, steps = 0.0, 0
    for example in examples:
        blank = torch.zeros(1, 88)
        y, _ = training.model(torch.cat([blank, example.inputs[:-1]]).unsqueeze(1))
        total += step_losses("binary", y, example.target.unsqueeze(1)).sum().item()
        steps += len(example)
    monkeypatch.setattr(evaluation, "ROWS", rows)
    values = evaluate(training.model, training.problem, examples, ["nll"])
    assert values["nll"] == pytest.approx(total / steps, rel=1e-6)
    means = [len(example) for example in examples]
    assert len(set(means)) > 1, "equal lengths would hide a mean of means"


def test_evaluation_draws_the_same_and_disturbs_nothing(tmp_path):
    training = begin(tmp_path, CHANCY)
    examples = training.problem.load("valid")
    training.model.train()
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first = evaluate(training.model, training.problem, examples, ["nll"])
    assert torch.equal(torch.rand(3), expected)
    assert first == evaluate(training.model, training.problem, examples, ["nll"])
    assert training.model.training


def test_evaluation_leaves_no_gradient(tmp_path):
    training = begin(tmp_path, CHORALES)
    evaluate(training.model, training.problem, training.problem.load("valid"), ["nll"])
    assert all(weight.grad is None for weight in training.model.parameters())
