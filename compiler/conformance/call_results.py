"""Everything that a model computes in one call, by name: values, then gradients."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import torch
from torch import Tensor

from rnnc.compiler.module.compiled_rnn import CompiledRNN

from .random_arguments import Arguments, like_of, restart_chance, targets

Answers = dict[str, Tensor]

INPUT: Final = "input "
OUTPUT: Final = "output "
STATE: Final = "state "
GRADIENT: Final = "gradient of "


def answers(model: CompiledRNN, given: Arguments) -> Answers:
    """All results of a call, and the gradients of one number that depends on all of them."""
    results = call(model, given)
    return results | gradients(results, weights_of(results), sources(model, given))


def call(model: CompiledRNN, given: Arguments) -> Answers:
    """Outputs, the state, laws, and in training the loss of a model with terms of its own."""
    restart_chance(like_of(model).device)
    y, state = called(model, given)
    results = results_of(model, y, state)
    results |= {f"law {index}": value for index, value in enumerate(model.laws().values())}
    if model.training and model.graph.losses is not None:
        outputs = y if isinstance(y, tuple) else (y,)
        results["loss"] = model.loss(y, targets(model, outputs, given), lengths=given.lengths)
    return results


def called(model: CompiledRNN, given: Arguments) -> tuple[Any, Any]:
    """What the module itself returns, with rows first where it takes them so."""
    x, resets = given.x, given.resets
    if model.batch_first:
        # In memory as its users have them, so that the backend sees steps that are far apart.
        x = {name: value.transpose(0, 1).contiguous() for name, value in x.items()}
        resets = None if resets is None else resets.transpose(0, 1)
    y, state = model(x, given.state, lengths=given.lengths, resets=resets)
    return y, state


def results_of(model: CompiledRNN, y: Any, state: Any, *, step: bool = False) -> Answers:
    """Outputs and states by name, time first; an axis of time for those of one `step`, too."""
    outputs = y if isinstance(y, tuple) else (y,)
    found: Answers = {}
    for output, value in zip(model.graph.outputs, outputs, strict=True):
        if step and not output.at_end:
            value = value.unsqueeze(0)
        elif model.batch_first and not output.at_end:
            value = value.transpose(0, 1)
        found[OUTPUT + output.name] = value
    if state is not None:
        found |= {STATE + name: value for name, value in state._asdict().items()}
    return found


def sources(model: CompiledRNN, given: Arguments) -> dict[str, Tensor]:
    """The tensors whose gradients are wanted, by name."""
    found: dict[str, Tensor] = dict(model.named_parameters())
    found |= {INPUT + name: value for name, value in given.x.items()}
    if given.state is not None:
        found |= {STATE + name: value for name, value in given.state._asdict().items()}
    return {name: tensor for name, tensor in found.items() if tensor.requires_grad}


def weights_of(results: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """For every number of the results, gradients apart, another weight in their sum."""
    generator = torch.Generator().manual_seed(3)
    drawn = {
        name: torch.randn(value.shape, generator=generator, dtype=torch.float64)
        for name, value in results.items()
        if value.is_floating_point() and not name.startswith(GRADIENT)
    }
    return {name: weight.to(results[name].device) for name, weight in drawn.items()}


def score(results: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> Tensor:
    """The weighted sum of all results that are finite, in float64."""
    total = torch.zeros((), dtype=torch.float64)
    for name, weight in weights.items():
        value = results[name]
        finite = torch.where(value.isfinite(), value, torch.zeros_like(value))
        total = total + (finite.double() * weight).sum().cpu()
    return total


def gradients(
    results: Mapping[str, Tensor], weights: Mapping[str, Tensor], wanted: Mapping[str, Tensor]
) -> Answers:
    """The gradients of that sum, zero where none arrives."""
    total = score(results, weights)
    found: tuple[Tensor | None, ...] = (None,) * len(wanted)
    if total.requires_grad and wanted:
        found = torch.autograd.grad(total, list(wanted.values()), allow_unused=True)
    return {
        GRADIENT + name: torch.zeros_like(tensor) if gradient is None else gradient
        for (name, tensor), gradient in zip(wanted.items(), found, strict=True)
    }
