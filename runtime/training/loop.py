"""The training loop: epochs with validation, best weights and resumable state saved."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

import msgspec
import torch
from torch.nn.utils import clip_grad_norm_

from rnnc.compiler.module.compiled_rnn import CompiledRNN
from rnnc.grammar.diagnostics.errors import fail
from rnnc.runtime.data.batches import shuffle_by_length
from rnnc.runtime.data.examples import Batch, Example, collate
from rnnc.runtime.tasks.task import Problem
from rnnc.runtime.training.run_state.checkpoint import Header, write_checkpoint
from rnnc.runtime.training.run_state.progress import (
    Progress,
    advance_batch,
    advance_epoch,
    stop_reason,
)
from rnnc.runtime.training.run_state.run_folder import RunFolder
from rnnc.runtime.training.run_state.state_tensors import pack_state, trainable_parameters
from rnnc.runtime.training.settings.training_config import TrainingConfig

from .evaluation import count_scored_steps, evaluate
from .interrupt import InterruptedTrainingError, InterruptHandler
from .lr_schedule import learning_rate
from .progress_bar import ProgressBar
from .weight_noise import add_weight_noise


@dataclass(frozen=True, slots=True)
class TrainingSession:
    """All objects of one run; `header.progress` is where the run was started or resumed."""

    model: CompiledRNN
    optimizer: torch.optim.Optimizer
    problem: Problem
    train_split: Sequence[Example]
    valid_split: Sequence[Example]
    metrics: Sequence[str]
    header: Header
    run: RunFolder
    interrupt_handler: InterruptHandler

    @property
    def config(self) -> TrainingConfig:
        """Settings of the run."""
        return self.header.config


def train(training: TrainingSession, progress_bar: ProgressBar) -> Progress:
    """Train until `stop_reason` returns a reason.

    Every epoch appends its metrics, writes the best weights if validation improved, and saves the
    state. A run that is interrupted and resumed gives the same bits as one that is not.

    Raises:
        InterruptedTrainingError: after an interrupt, once the state is saved.
        RnnError: RNN640 if the loss or a gradient is not finite.
    """
    progress = training.header.progress
    at_end = training.problem.target_timing == "at end"
    lengths = [len(example) for example in training.train_split]
    config = training.config
    training.model.train()
    start = time.monotonic() - progress.seconds
    if progress.step == 0:
        save_state(training, progress)
    try:
        while stop_reason(config, progress) is None:
            batches = shuffle_by_length(
                lengths, config.batch_size, seed=config.seed, epoch=progress.epoch
            )
            for rows in batches[progress.batch :]:
                raise_if_interrupted(training)
                batch = collate([training.train_split[row] for row in rows], at_end=at_end)
                loss = train_batch(training, batch, progress)
                laws = {text: value.item() for text, value in training.model.laws().items()}
                progress = advance_batch(
                    progress, loss, count_scored_steps(training.problem, batch), laws
                )
                progress = msgspec.structs.replace(progress, seconds=time.monotonic() - start)
                progress_bar.show_batch(
                    progress.epoch + 1,
                    progress.batch,
                    len(batches),
                    progress.loss_sum / progress.loss_steps,
                )
            progress = validate(training, progress)
            progress_bar.show_validation(progress)
    except InterruptedTrainingError:
        save_state(training, progress)
        raise
    return progress


def train_batch(training: TrainingSession, batch: Batch, progress: Progress) -> float:
    """Update the weights once; return the loss of the batch."""
    config = training.config
    model = training.model
    weights = list(trainable_parameters(model).values())
    training.optimizer.zero_grad()
    with add_weight_noise(model, config.weight_noise):
        if training.problem.target_timing == "next input":
            loss, _ = model.nll(batch.inputs, lengths=batch.lengths)
        else:
            y, _ = model(batch.inputs, lengths=batch.lengths)
            loss = model.loss(y, batch.target, lengths=batch.lengths)
        loss.backward()  # type: ignore[no-untyped-call]
    norm = clip_grad_norm_(weights, math.inf if config.clip is None else config.clip)
    value = loss.item()
    if not math.isfinite(value):
        _fail_not_finite(training, progress, f"the loss became {value}")
    if not math.isfinite(norm.item()):
        _fail_not_finite(training, progress, "the gradient is not finite")
    for group in training.optimizer.param_groups:
        group["lr"] = current_learning_rate(training, progress)
    training.optimizer.step()
    return value


def current_learning_rate(training: TrainingSession, progress: Progress) -> float:
    """Return the learning rate of the next update."""
    config = training.config
    return learning_rate(config.learning_rate, config.decay, progress.decaying_since, progress.step)


def validate(training: TrainingSession, progress: Progress) -> Progress:
    """Evaluate the validation split after an epoch; write metrics, best weights and state."""
    values = evaluate(
        training.model,
        training.problem,
        training.valid_split,
        training.metrics,
        between_batches=lambda: raise_if_interrupted(training),
    )
    metric = values[training.metrics[0]]
    if not math.isfinite(metric):
        _fail_not_finite(training, progress, f"the validation metric became {metric}")
    loss = progress.loss_sum / progress.loss_steps
    laws = {text: total / progress.loss_steps for text, total in progress.law_sums.items()}
    updated = advance_epoch(progress, metric)
    if updated.best_epoch == updated.epoch:
        write_checkpoint(
            training.run.best_checkpoint,
            _updated_header(training, updated),
            training.model.state_dict(),
        )
    training.run.append_metrics(
        {
            "epoch": updated.epoch,
            "step": updated.step,
            "train": {"loss": loss} | ({"laws": laws} if laws else {}),
            "valid": values,
            "learning_rate": current_learning_rate(training, progress),
            "seconds": round(updated.seconds, 3),
        }
    )
    save_state(training, updated)
    return updated


def save_state(training: TrainingSession, progress: Progress) -> None:
    """Write the state from which training resumes."""
    tensors = pack_state(training.model, training.optimizer)
    write_checkpoint(training.run.last_checkpoint, _updated_header(training, progress), tensors)


def raise_if_interrupted(training: TrainingSession) -> None:
    """Raise InterruptedTrainingError after an interrupt."""
    if training.interrupt_handler.requested:
        raise InterruptedTrainingError


def _updated_header(training: TrainingSession, progress: Progress) -> Header:
    return msgspec.structs.replace(training.header, progress=progress)


def _fail_not_finite(training: TrainingSession, progress: Progress, problem: str) -> NoReturn:
    hint = (
        f"the best weights so far, of epoch {progress.best_epoch}, are kept in "
        f"`{training.run.best_checkpoint}`"
        if progress.best_epoch
        else "there are no weights worth keeping yet"
    )
    fail(
        "RNN640",
        f"{problem} in epoch {progress.epoch + 1}, at update {progress.step + 1}",
        hint=f"try a smaller --lr or --clip; {hint}",
    )
