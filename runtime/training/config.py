"""The settings of a training run, as flags give them and as a checkpoint stores them."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Positive = Annotated[float, Meta(gt=0)]


class TrainingConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How to train; None switches a thing off.

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

    epochs: Annotated[int, Meta(ge=1)] = 300
    seed: Annotated[int, Meta(ge=0, le=2**63 - 1)] = 0
    optimizer: Literal["adam", "sgd"] = "adam"
    learning_rate: Positive = 1e-3
    momentum: Annotated[float, Meta(ge=0, lt=1)] = 0.0
    decay: Positive | None = None
    batch_size: Annotated[int, Meta(ge=1)] = 16
    clip: Positive | None = 1.0
    weight_noise: Annotated[float, Meta(ge=0)] = 0.0
    patience: Annotated[int, Meta(ge=1)] | None = 10
    backend: str = "auto"
