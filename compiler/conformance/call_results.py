"""Results and gradients of one call of a model, by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import torch
from torch import Tensor

from rnnc.compiler.module.compiled_rnn import CompiledRNN

from .random_arguments import Arguments, draw_targets, like_of, seed_device

CallResults = dict[str, Tensor]

INPUT: Final = "input "
OUTPUT: Final = "output "
STATE: Final = "state "
GRADIENT: Final = "gradient of "


def evaluate_with_gradients(model: CompiledRNN, arguments: Arguments) -> CallResults:
    """Compute all results of a call, and the gradients of a number that depends on all of them."""
    results = evaluate(model, arguments)
    return results | score_gradients(
        results, score_weights(results), differentiable_tensors(model, arguments)
    )


def evaluate(model: CompiledRNN, arguments: Arguments) -> CallResults:
    """Compute outputs, state and laws of a call, and in training the loss if it has terms."""
    seed_device(like_of(model).device)
    y, state = call_module(model, arguments)
    results = results_by_name(model, y, state)
    results |= {f"law {index}": value for index, value in enumerate(model.laws().values())}
    if model.training and model.graph.loss_graph is not None:
        outputs = y if isinstance(y, tuple) else (y,)
        results["loss"] = model.loss(
            y, draw_targets(model, outputs, arguments), lengths=arguments.lengths
        )
    return results


def call_module(model: CompiledRNN, arguments: Arguments) -> tuple[Any, Any]:
    """Call the module, with the batch axis first if it takes it so."""
    x, resets = arguments.x, arguments.resets
    if model.batch_first:
        # Contiguous with the batch axis first, as users pass them: the backend sees strided steps.
        x = {name: value.transpose(0, 1).contiguous() for name, value in x.items()}
        resets = None if resets is None else resets.transpose(0, 1)
    y, state = model(x, arguments.state, lengths=arguments.lengths, resets=resets)
    return y, state


def results_by_name(model: CompiledRNN, y: Any, state: Any, *, step: bool = False) -> CallResults:
    """Return outputs and states by name, time first; outputs of one `step` get a time axis."""
    outputs = y if isinstance(y, tuple) else (y,)
    results: CallResults = {}
    for output, value in zip(model.graph.outputs, outputs, strict=True):
        if step and not output.at_end:
            value = value.unsqueeze(0)
        elif model.batch_first and not output.at_end:
            value = value.transpose(0, 1)
        results[OUTPUT + output.name] = value
    if state is not None:
        results |= {STATE + name: value for name, value in state._asdict().items()}
    return results


def differentiable_tensors(model: CompiledRNN, arguments: Arguments) -> dict[str, Tensor]:
    """Return the tensors that require a gradient, by name."""
    tensors: dict[str, Tensor] = dict(model.named_parameters())
    tensors |= {INPUT + name: value for name, value in arguments.x.items()}
    if arguments.state is not None:
        tensors |= {STATE + name: value for name, value in arguments.state._asdict().items()}
    return {name: tensor for name, tensor in tensors.items() if tensor.requires_grad}


def score_weights(results: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Draw a weight for every number of the results; gradients have none."""
    generator = torch.Generator().manual_seed(3)
    weights = {
        name: torch.randn(value.shape, generator=generator, dtype=torch.float64)
        for name, value in results.items()
        if value.is_floating_point() and not name.startswith(GRADIENT)
    }
    return {name: weight.to(results[name].device) for name, weight in weights.items()}


def score(results: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> Tensor:
    """Compute the weighted sum of all finite results, in float64."""
    total = torch.zeros((), dtype=torch.float64)
    for name, weight in weights.items():
        value = results[name]
        finite = torch.where(value.isfinite(), value, torch.zeros_like(value))
        total = total + (finite.double() * weight).sum().cpu()
    return total


def score_gradients(
    results: Mapping[str, Tensor], weights: Mapping[str, Tensor], wrt: Mapping[str, Tensor]
) -> CallResults:
    """Compute the gradients of that sum; zero for a tensor without one."""
    total = score(results, weights)
    gradients: tuple[Tensor | None, ...] = (None,) * len(wrt)
    if total.requires_grad and wrt:
        gradients = torch.autograd.grad(total, list(wrt.values()), allow_unused=True)
    return {
        GRADIENT + name: torch.zeros_like(tensor) if gradient is None else gradient
        for (name, tensor), gradient in zip(wrt.items(), gradients, strict=True)
    }
