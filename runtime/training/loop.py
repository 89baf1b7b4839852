"""The training loop: one pass after another, validated, with the best weights kept."""

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
from rnnc.runtime.data.batches import similar_lengths
from rnnc.runtime.data.examples import Batch, Example, collate
from rnnc.runtime.tasks.task import Problem
from rnnc.runtime.training.run_state.checkpoint import Header, write_checkpoint
from rnnc.runtime.training.run_state.progress import (
    Progress,
    after_batch,
    after_epoch,
    reason_to_stop,
)
from rnnc.runtime.training.run_state.run_folder import Run
from rnnc.runtime.training.run_state.state_tensors import pack, trainable
from rnnc.runtime.training.settings.training_config import TrainingConfig

from .evaluation import evaluate, scored_steps
from .interrupt import InterruptedTrainingError, Interruption
from .lr_schedule import learning_rate
from .progress_bar import Display
from .weight_noise import noisy_weights


@dataclass(frozen=True, slots=True)
class Training:
    """All that takes part in one run. The `progress` in `header` is where the run was started."""

    model: CompiledRNN
    optimizer: torch.optim.Optimizer
    problem: Problem
    train_split: Sequence[Example]
    valid_split: Sequence[Example]
    metrics: Sequence[str]
    header: Header
    run: Run
    interruption: Interruption

    @property
    def config(self) -> TrainingConfig:
        """The settings."""
        return self.header.config


def train(training: Training, display: Display) -> Progress:
    """Train until `reason_to_stop` says why to stop.

    After every epoch the metrics get a line, a better validation writes the best weights, and the
    state is saved. A run that is interrupted and goes on gives the same bits as one that is not.

    Raises:
        InterruptedTrainingError: after an interrupt, when the state is saved.
        RnnError: RNN640 when the loss or a gradient is not a finite number.
    """
    progress = training.header.progress
    at_end = training.problem.answer == "at end"
    lengths = [len(example) for example in training.train_split]
    config = training.config
    training.model.train()
    start = time.monotonic() - progress.seconds
    if progress.step == 0:
        save(training, progress)
    try:
        while reason_to_stop(config, progress) is None:
            batches = similar_lengths(
                lengths, config.batch_size, seed=config.seed, epoch=progress.epoch
            )
            for rows in batches[progress.batch :]:
                stop_if_asked(training)
                batch = collate([training.train_split[row] for row in rows], at_end=at_end)
                loss = update(training, batch, progress)
                laws = {text: value.item() for text, value in training.model.laws().items()}
                progress = after_batch(progress, loss, scored_steps(training.problem, batch), laws)
                progress = msgspec.structs.replace(progress, seconds=time.monotonic() - start)
                display.batch(
                    progress.epoch + 1,
                    progress.batch,
                    len(batches),
                    progress.loss_sum / progress.loss_steps,
                )
            progress = validate(training, progress)
            display.validated(progress)
    except InterruptedTrainingError:
        save(training, progress)
        raise
    return progress


def update(training: Training, batch: Batch, progress: Progress) -> float:
    """One update of the weights; returns the loss of the batch."""
    config = training.config
    model = training.model
    weights = list(trainable(model).values())
    training.optimizer.zero_grad()
    with noisy_weights(model, config.weight_noise):
        if training.problem.answer == "next input":
            loss, _ = model.nll(batch.inputs, lengths=batch.lengths)
        else:
            y, _ = model(batch.inputs, lengths=batch.lengths)
            loss = model.loss(y, batch.target, lengths=batch.lengths)
        loss.backward()  # type: ignore[no-untyped-call]
    norm = clip_grad_norm_(weights, math.inf if config.clip is None else config.clip)
    value = loss.item()
    if not math.isfinite(value):
        _not_finite(training, progress, f"the loss became {value}")
    if not math.isfinite(norm.item()):
        _not_finite(training, progress, "the gradient is not finite")
    for group in training.optimizer.param_groups:
        group["lr"] = rate_of(training, progress)
    training.optimizer.step()
    return value


def rate_of(training: Training, progress: Progress) -> float:
    """The learning rate of the next update."""
    config = training.config
    return learning_rate(config.learning_rate, config.decay, progress.decaying_since, progress.step)


def validate(training: Training, progress: Progress) -> Progress:
    """Measure the validation split at the end of an epoch, and write everything down."""
    values = evaluate(
        training.model,
        training.problem,
        training.valid_split,
        training.metrics,
        between_batches=lambda: stop_if_asked(training),
    )
    valid = values[training.metrics[0]]
    if not math.isfinite(valid):
        _not_finite(training, progress, f"the validation metric became {valid}")
    loss = progress.loss_sum / progress.loss_steps
    laws = {text: total / progress.loss_steps for text, total in progress.law_sums.items()}
    done = after_epoch(progress, valid)
    if done.best_epoch == done.epoch:
        write_checkpoint(training.run.best, _header(training, done), training.model.state_dict())
    training.run.record(
        {
            "epoch": done.epoch,
            "step": done.step,
            "train": {"loss": loss} | ({"laws": laws} if laws else {}),
            "valid": values,
            "learning_rate": rate_of(training, progress),
            "seconds": round(done.seconds, 3),
        }
    )
    save(training, done)
    return done


def save(training: Training, progress: Progress) -> None:
    """Write the state that training goes on from."""
    tensors = pack(training.model, training.optimizer)
    write_checkpoint(training.run.last, _header(training, progress), tensors)


def stop_if_asked(training: Training) -> None:
    """Leave, when there was an interrupt."""
    if training.interruption.requested:
        raise InterruptedTrainingError


def _header(training: Training, progress: Progress) -> Header:
    return msgspec.structs.replace(training.header, progress=progress)


def _not_finite(training: Training, progress: Progress, what: str) -> NoReturn:
    best = (
        f"the best weights so far, of epoch {progress.best_epoch}, are kept in "
        f"`{training.run.best}`"
        if progress.best_epoch
        else "there are no weights worth keeping yet"
    )
    fail(
        "RNN640",
        f"{what} in epoch {progress.epoch + 1}, at update {progress.step + 1}",
        hint=f"try a smaller --lr or --clip; {best}",
    )
