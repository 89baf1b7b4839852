"""Metrics of a network on a split."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import torch
from torch import nn

from ..data.batches import by_length
from ..data.examples import Example, collate
from ..metrics import find_metric
from ..tasks.task import Problem

ROWS: Final = 64
"""Sequences a batch; the metrics do not depend on it beyond rounding."""


def evaluate(
    model: nn.Module,
    problem: Problem,
    examples: Sequence[Example],
    metrics: Sequence[str],
    *,
    between_batches: Callable[[], None] = lambda: None,
) -> dict[str, float]:
    """The metrics of a split, by name, each over all its steps.

    The network is put into evaluation mode and back. Random numbers that it draws (initial states)
    are the same at every call, and the generators outside do not move.
    """
    measures = [find_metric(name) for name in metrics]
    sums = [0.0] * len(measures)
    counts = [0] * len(measures)
    at_end = problem.answer == "at end"
    training = model.training
    model.eval()
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            for rows in by_length([len(example) for example in examples], ROWS):
                batch = collate([examples[row] for row in rows], at_end=at_end)
                y, _ = model(batch.inputs, lengths=batch.lengths)
                for index, measure in enumerate(measures):
                    total, count = measure.summed(
                        problem.target.kind, y.double(), batch.target, batch.lengths
                    )
                    sums[index] += total.item()
                    counts[index] += count
                between_batches()
    finally:
        model.train(training)
    return {
        measure.name: measure.value(total / count)
        for measure, total, count in zip(measures, sums, counts, strict=True)
    }
