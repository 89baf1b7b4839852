"""Convert a run's state to named tensors: weights, optimizer state, and random generator.

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
    """Return the parameters with gradients, by name."""
    return {name: weight for name, weight in model.named_parameters() if weight.requires_grad}


def make_optimizer(model: nn.Module, config: TrainingConfig) -> torch.optim.Optimizer:
    """Create an optimizer over the trainable parameters, in the model's order.

    Raises:
        RnnError: RNN621 if the model has nothing to train.
    """
    weights = list(trainable_parameters(model).values())
    if not weights:
        fail("RNN621", "the model has no parameter that could be trained")
    if config.optimizer == "sgd":
        return torch.optim.SGD(weights, config.learning_rate, momentum=config.momentum)
    return torch.optim.Adam(weights, config.learning_rate)


def pack_state(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return everything that the next update depends on, as named tensors."""
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
    """Restore the tensors of `pack_state`; `path` is for messages.

    Raises:
        RnnError: RNN633 if tensors are missing, unknown, or of another shape or dtype.
    """
    names = trainable_parameters(model)
    expected = {f"model.{name}": tensor for name, tensor in model.state_dict().items()}
    expected[RNG_STATE_KEY] = torch.get_rng_state()
    # An optimizer has no state before its first update, and afterwards one for every weight.
    has_state = any(name.startswith("optimizer.") for name in tensors)
    if has_state:
        for name, weight in names.items():
            for key in OPTIMIZER_STATE_KEYS[optimizer_name]:
                expected_tensor = torch.zeros(()) if key == "step" else weight
                expected[f"optimizer.{name}.{key}"] = expected_tensor
    check_tensors(path, tensors, expected)
    weights = {name: tensors[f"model.{name}"] for name in model.state_dict()}
    load_weights(model, weights, path)
    optimizer_state = {
        index: {
            key: tensors[f"optimizer.{name}.{key}"] for key in OPTIMIZER_STATE_KEYS[optimizer_name]
        }
        for index, name in enumerate(names if has_state else ())
    }
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": optimizer_state, "param_groups": groups})
    try:
        torch.set_rng_state(tensors[RNG_STATE_KEY])
    except RuntimeError:
        fail(
            "RNN633",
            f"the weights of `{path}` do not fit: `{RNG_STATE_KEY}` is no generator's state",
        )
