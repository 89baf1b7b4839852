"""Evaluation: each step has equal weight, however sequences are batched."""

from __future__ import annotations

import math

import pytest
import torch

import rnnc
from rnnc.compiler.module.losses import step_losses
from rnnc.operators.graph.types import Type
from rnnc.runtime.data.examples import Example, collate
from rnnc.runtime.tasks.task import Problem
from rnnc.runtime.training import evaluation
from rnnc.runtime.training.evaluation import count_scored_steps, evaluate
from support.training.small_runs import CHORALES, RANDOM_CHORALES, start_small_training


@pytest.mark.parametrize("rows", [1, 2, 64])
def test_the_metric_is_the_sum_over_all_steps_by_their_number(tmp_path, monkeypatch, rows):
    training = start_small_training(tmp_path)
    examples = training.problem.load_split("train")
    total, steps = 0.0, 0
    for example in examples:
        blank = torch.zeros(1, 88)
        y, _ = training.model(torch.cat([blank, example.inputs[:-1]]).unsqueeze(1))
        total += step_losses("binary", y, example.target.unsqueeze(1)).sum().item()
        steps += len(example)
    monkeypatch.setattr(evaluation, "BATCH_SIZE", rows)
    values = evaluate(training.model, training.problem, examples, ["nll"])
    assert values["nll"] == pytest.approx(total / steps, rel=1e-6)
    means = [len(example) for example in examples]
    assert len(set(means)) > 1, "equal lengths would hide a mean of means"


@pytest.mark.parametrize("answer", ["next input", "every step", "at end"])
def test_symbols_that_are_none_are_not_counted(answer):
    letters = Type("symbol", 3)
    lines = torch.tensor([0, 2, -1, 1]), torch.tensor([-1, 1])
    last = [torch.tensor(-1), torch.tensor(2)]
    examples = [
        Example(line, end if answer == "at end" else line)
        for line, end in zip(lines, last, strict=True)
    ]
    problem = Problem(letters, letters, answer, lambda split: examples, lambda split: 0.0)
    text = "input x: symbol[3]\nstate h: real[2]\nh' = x ⊕ h\n"
    text += {
        "next input": "x' = 0 * ▷ h'",
        "every step": "output y: symbol[3]\ny = 0 * ▷ h'",
        "at end": "output y: symbol[3] at end\ny = 0 * ▷ h'",
    }[answer]
    model = rnnc.compile(text)
    batch = collate(examples, at_end=answer == "at end")
    assert count_scored_steps(problem, batch) == (1 if answer == "at end" else 4)
    values = evaluate(model, problem, examples, ["nll", "perplexity"])
    assert values == pytest.approx({"nll": math.log(3), "perplexity": 3.0})


def test_a_metric_refuses_targets_that_it_is_not_for(tmp_path):
    training = start_small_training(tmp_path)
    with pytest.raises(ValueError, match="squared_error: expected real targets, got binary"):
        evaluate(training.model, training.problem, training.valid_split, ["squared_error"])


def test_evaluation_draws_the_same_and_disturbs_nothing(tmp_path):
    training = start_small_training(tmp_path, RANDOM_CHORALES)
    examples = training.problem.load_split("valid")
    training.model.train()
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first = evaluate(training.model, training.problem, examples, ["nll"])
    assert torch.equal(torch.rand(3), expected)
    assert first == evaluate(training.model, training.problem, examples, ["nll"])
    assert training.model.training


def test_evaluation_leaves_no_gradient(tmp_path):
    training = start_small_training(tmp_path, CHORALES)
    evaluate(training.model, training.problem, training.problem.load_split("valid"), ["nll"])
    assert all(weight.grad is None for weight in training.model.parameters())
