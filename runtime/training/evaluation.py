"""Evaluate a network's metrics on a split."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import torch
from torch import Tensor

from rnnc.compiler.module.compiled_rnn import CompiledRNN
from rnnc.compiler.module.loss_targets import compute_output_losses, target_name
from rnnc.runtime.data.batches import sort_by_length
from rnnc.runtime.data.examples import Batch, Example, collate
from rnnc.runtime.metrics import find_metric
from rnnc.runtime.tasks.task import Problem

BATCH_SIZE: Final = 64
"""Sequences per batch; the metrics do not depend on it beyond rounding."""


def evaluate(
    model: CompiledRNN,
    problem: Problem,
    examples: Sequence[Example],
    metrics: Sequence[str],
    *,
    between_batches: Callable[[], None] = lambda: None,
) -> dict[str, float]:
    """Return the metrics of a split by name, each over all its steps.

    The network is put into evaluation mode and back. Its random numbers (initial states) are the
    same in every call, and global generators do not change.

    Raises:
        ValueError: for a metric that does not apply to the problem's targets.
    """
    metric_objects = [find_metric(name) for name in metrics]
    for measure in metric_objects:
        if problem.target.kind not in measure.target_kinds:
            kinds = " or ".join(measure.target_kinds)
            raise ValueError(f"{measure.name}: expected {kinds} targets, got {problem.target.kind}")
    total, steps = 0.0, 0
    at_end = problem.target_timing == "at end"
    training = model.training
    model.eval()
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            for rows in sort_by_length([len(example) for example in examples], BATCH_SIZE):
                batch = collate([examples[row] for row in rows], at_end=at_end)
                total += compute_losses(model, problem, batch).sum(dtype=torch.float64).item()
                steps += count_scored_steps(problem, batch)
                between_batches()
    finally:
        model.train(training)
    mean = total / steps if steps else 0.0
    return {measure.name: measure.from_mean_loss(mean) for measure in metric_objects}


def compute_losses(model: CompiledRNN, problem: Problem, batch: Batch) -> Tensor:
    """Compute the loss of every target of a batch, 0 for padding."""
    if problem.target_timing == "next input":
        losses, _ = model.nll(batch.inputs, lengths=batch.lengths, reduction="none")
        return losses
    y, _ = model(batch.inputs, lengths=batch.lengths)
    (output,) = model.graph.scored_outputs
    prediction = y if len(model.graph.outputs) == 1 else y[model.graph.outputs.index(output)]
    name = target_name(output)
    targets = {name: batch.target}
    ((losses, _),) = compute_output_losses(
        (output,), {name: prediction.double()}, targets, batch.lengths, None
    )
    return losses


def count_scored_steps(problem: Problem, batch: Batch) -> int:
    """Count the scored targets of a batch, without padding and missing symbols."""
    is_symbol = batch.target >= 0 if problem.target.kind == "symbol" else None
    if problem.target_timing == "at end":
        return len(batch.lengths) if is_symbol is None else int(is_symbol.sum())
    if is_symbol is None:
        return int(batch.lengths.sum())
    in_sequence = torch.arange(len(batch.target)).unsqueeze(-1) < batch.lengths
    return int((in_sequence & is_symbol).sum())
