"""The settings of a training run, as set by flags and stored in checkpoints."""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

MAX_INTEGER: Final = 2**63 - 1
"""Largest integer of a setting."""

# Upper bounds far above every sensible value, and far below float32 overflow in products.
Rate = Annotated[float, Meta(gt=0, le=1e6)]
PositiveFloat = Annotated[float, Meta(gt=0, le=1e30)]
PositiveInt = Annotated[int, Meta(ge=1, le=MAX_INTEGER)]


class TrainingConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Training settings; None switches a feature off.

    * `epochs`: at most so many passes over the train split.
    * `seed`: of the initial weights, the order of the batches, and all noise.
    * `optimizer`: `adam` (Kingma & Ba 2015) or `sgd`, with `momentum`.
    * `learning_rate`, and `decay`: from the first update t0 after which the validation metric
      rose, the rate is learning_rate / (1 + (t - t0) / decay) at update t (Pascanu et al. 2014).
    * `batch_size`: sequences a batch.
    * `clip`: the largest norm of the gradient, over which it is scaled down to it.
    * `weight_noise`: standard deviation of the Gaussian noise on weights (not on biases) at each
      gradient computation (Pascanu et al. 2014: 0.075).
    * `patience`: epochs without a better validation metric before training stops.
    * `backend`: what the network is compiled for.
    """

    epochs: PositiveInt = 300
    seed: Annotated[int, Meta(ge=0, le=MAX_INTEGER)] = 0
    optimizer: Literal["adam", "sgd"] = "adam"
    learning_rate: Rate = 1e-3
    momentum: Annotated[float, Meta(ge=0, lt=1)] = 0.0
    decay: PositiveFloat | None = None
    batch_size: PositiveInt = 16
    clip: PositiveFloat | None = 1.0
    weight_noise: Annotated[float, Meta(ge=0, le=1e6)] = 0.0
    patience: PositiveInt | None = 10
    backend: str = "auto"
