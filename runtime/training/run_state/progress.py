"""The progress of a training run: counters, metrics and times, without tensors."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated

import msgspec
from msgspec import Meta

from rnnc.runtime.training.settings.training_config import MAX_INTEGER, TrainingConfig

NonNegativeInt = Annotated[int, Meta(ge=0, le=MAX_INTEGER)]


class Progress(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Counters and metrics of a training run.

    * `epoch`: epochs done; `batch`: batches done of the one after them; `step`: updates done.
    * `loss_sum`, `loss_steps`: the loss of that unfinished epoch, and the steps it is a sum over.
    * `law_sums`: the values of the model's laws, by their text, as sums over the same steps.
    * `best`, `best_epoch`: the best validation metric and its epoch.
    * `last`: the validation metric of the last epoch; `decaying_since`: the update after which it
      first rose, where the learning rate decays from.
    * `seconds`: spent in training, all sittings together.

    Raises:
        ValueError: for counts that no training can have come to.
    """

    epoch: NonNegativeInt = 0
    batch: NonNegativeInt = 0
    step: NonNegativeInt = 0
    loss_sum: float = 0.0
    loss_steps: NonNegativeInt = 0
    law_sums: dict[str, float] = {}
    best: float | None = None
    best_epoch: NonNegativeInt = 0
    last: float | None = None
    decaying_since: NonNegativeInt | None = None
    seconds: Annotated[float, Meta(ge=0, le=1e18)] = 0.0

    def __post_init__(self) -> None:
        if self.best_epoch > self.epoch:
            raise ValueError(f"expected best_epoch up to epoch, {self.epoch}")
        if self.step < self.batch:
            raise ValueError(f"expected batch up to step, {self.step}")
        if self.batch and not self.loss_steps:
            raise ValueError("expected batch 0, since loss_steps is 0")
        if self.decaying_since is not None and self.decaying_since > self.step:
            raise ValueError(f"expected decaying_since up to step, {self.step}")
        if (self.best is None) != (self.best_epoch == 0):
            raise ValueError("expected best with a best_epoch")
        if (self.last is None) != (self.epoch == 0):
            raise ValueError("expected last after an epoch")


def stop_reason(config: TrainingConfig, progress: Progress) -> str | None:
    """Return the reason why training is over; None while it is not."""
    if progress.epoch >= config.epochs:
        return (
            "its one epoch is done"
            if progress.epoch == 1
            else f"all {progress.epoch} epochs are done"
        )
    if config.patience is not None and progress.epoch - progress.best_epoch >= config.patience:
        return f"no better validation in {progress.epoch - progress.best_epoch} epochs"
    return None


def advance_batch(
    progress: Progress, loss: float, steps: int, laws: Mapping[str, float] = MappingProxyType({})
) -> Progress:
    """Count one update; `loss` and the values of `laws` are means over the batch's `steps`."""
    return msgspec.structs.replace(
        progress,
        batch=progress.batch + 1,
        step=progress.step + 1,
        loss_sum=progress.loss_sum + loss * steps,
        loss_steps=progress.loss_steps + steps,
        law_sums={
            text: progress.law_sums.get(text, 0.0) + value * steps for text, value in laws.items()
        },
    )


def advance_epoch(progress: Progress, validation_metric: float) -> Progress:
    """Count one epoch with its validation metric."""
    better = progress.best is None or validation_metric < progress.best
    rose = progress.last is not None and validation_metric > progress.last
    first_rise = rose and progress.decaying_since is None
    return msgspec.structs.replace(
        progress,
        epoch=progress.epoch + 1,
        batch=0,
        loss_sum=0.0,
        loss_steps=0,
        law_sums={},
        best=validation_metric if better else progress.best,
        best_epoch=progress.epoch + 1 if better else progress.best_epoch,
        last=validation_metric,
        decaying_since=progress.step if first_rise else progress.decaying_since,
    )
