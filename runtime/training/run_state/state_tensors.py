"""The state of a run in tensors: weights, what the optimizer remembers, and the random generator.

Flat names, so that it is stored without pickle: `model.NAME`, `optimizer.NAME.KEY`, `random`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import torch
from torch import Tensor, nn

from rnnc.grammar.diagnostics.errors import fail
from rnnc.runtime.training.settings.training_config import TrainingConfig

from .checkpoint import check_tensors, load_weights

RNG_STATE_KEY: Final = "random"
OPTIMIZER_STATE_KEYS: Final = {
    "adam": ("step", "exp_avg", "exp_avg_sq"),
    "sgd": ("momentum_buffer",),
}


def trainable_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that training moves, by name."""
    return {name: weight for name, weight in model.named_parameters() if weight.requires_grad}


def make_optimizer(model: nn.Module, config: TrainingConfig) -> torch.optim.Optimizer:
    """A fresh optimizer over the trainable parameters, in the order of their names in the model.

    Raises:
        RnnError: RNN621 when the model has nothing to train.
    """
    weights = list(trainable_parameters(model).values())
    if not weights:
        fail("RNN621", "the model has no parameter that could be trained")
    if config.optimizer == "sgd":
        return torch.optim.SGD(weights, config.learning_rate, momentum=config.momentum)
    return torch.optim.Adam(weights, config.learning_rate)


def pack_state(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Everything that the next update depends on, as named tensors."""
    tensors = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    for name, weight in trainable_parameters(model).items():
        for key, value in optimizer.state.get(weight, {}).items():
            if isinstance(value, Tensor):
                tensors[f"optimizer.{name}.{key}"] = value
    tensors[RNG_STATE_KEY] = torch.get_rng_state()
    return tensors


def unpack_state(
    tensors: Mapping[str, Tensor],
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    optimizer_name: str,
    path: Path,
) -> None:
    """Put back what `pack` gave; `optimizer_name` is `adam` or `sgd`, `path` is for messages.

    Raises:
        RnnError: RNN633 when tensors are missing, unknown, or of another shape or dtype.
    """
    names = trainable_parameters(model)
    expected = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    expected[RNG_STATE_KEY] = torch.get_rng_state()
    # Before its first update an optimizer remembers nothing; after it, something of every weight.
    remembers = any(name.startswith("optimizer.") for name in tensors)
    if remembers:
        for name, weight in names.items():
            for key in OPTIMIZER_STATE_KEYS[optimizer_name]:
                like = torch.zeros(()) if key == "step" else weight
                expected[f"optimizer.{name}.{key}"] = like
    check_tensors(path, tensors, expected)
    weights = {name: tensors[f"model.{name}"] for name in model.state_dict()}
    load_weights(model, weights, path)
    memory = {
        index: {
            key: tensors[f"optimizer.{name}.{key}"] for key in OPTIMIZER_STATE_KEYS[optimizer_name]
        }
        for index, name in enumerate(names if remembers else ())
    }
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": memory, "param_groups": groups})
    try:
        torch.set_rng_state(tensors[RNG_STATE_KEY])
    except RuntimeError:
        fail(
            "RNN633",
            f"the weights of `{path}` do not fit: `{RNG_STATE_KEY}` is no generator's state",
        )
