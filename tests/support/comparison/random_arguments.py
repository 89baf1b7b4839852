"""Random arguments of compiled models: inputs, lengths, resets, states and targets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from rnnc.compiler.module.compiled_rnn import CompiledRNN
from rnnc.operators.graph.carry import carry_entries
from rnnc.operators.graph.operator_graph import OperatorGraph
from rnnc.operators.graph.types import Type


@dataclass
class CallArguments:
    """The arguments of one call."""

    inputs: dict[str, Tensor]
    state: Any
    lengths: Tensor | None
    resets: Tensor | None

    def call(self, model: CompiledRNN) -> Any:
        """Call the model; return outputs and state."""
        return model(self.inputs, self.state, lengths=self.lengths, resets=self.resets)


def randomize_parameters(model: CompiledRNN, seed: int, scale: float = 0.5) -> CompiledRNN:
    """Draw every parameter anew, vectors, biases, initial states and frozen ones too.

    Parameters that start away from zero (a gain, an exponent) stay near their start, with entries
    close to each other, so that a divisor which starts at one stays away from zero.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in sorted(model.named_parameters()):
            declared = model.graph.parameters_by_name[name]
            noise = 2 * torch.rand(parameter.shape, generator=generator, dtype=torch.float64) - 1
            start = parameter.mean() if declared.form == "vector" else 0.0
            spread = 1.0 if declared.form == "vector" else 3**0.5
            width = max(1, parameter.shape[-1]) ** 0.5
            parameter.copy_(start + scale * spread * noise / width)
    return model


def random_values(type_: Type, shape: tuple[int, ...], dtype: torch.dtype, seed: int) -> Tensor:
    """Draw values of a type: Gaussian, zeros and ones, or symbols (with −1, no symbol)."""
    generator = torch.Generator().manual_seed(seed)
    if type_.kind == "symbol":
        return torch.randint(-1, type_.size, shape, generator=generator)
    values = torch.randn(*shape, type_.size, generator=generator, dtype=torch.float64)
    return (values > 0).to(dtype) if type_.kind == "binary" else values.to(dtype)


def random_inputs(
    graph: OperatorGraph, steps: int, rows: int, *, seed: int = 0, dtype: torch.dtype | None = None
) -> dict[str, Tensor]:
    """Draw inputs by name, (T, B, n) or (T, B) of symbols; float64 by default."""
    return {
        variable.name: random_values(
            variable.type, (steps, rows), dtype or torch.float64, 1000 * seed + index
        )
        for index, variable in enumerate(graph.inputs)
    }


def random_lengths(steps: int, rows: int, *, seed: int = 0) -> Tensor:
    """Draw ragged lengths; with enough rows one is empty and one full."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.randint(min(1, steps), steps + 1, (rows,), generator=generator)
    if rows > 1:
        values[0] = steps
    if rows > 2:
        values[-1] = 0
    return values


def random_resets(steps: int, rows: int, *, seed: int = 0) -> Tensor:
    """Draw resets at about a third of the steps, also at the first and in padding."""
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(steps, rows, generator=generator) < 0.3


def random_state(model: CompiledRNN, rows: int, *, seed: int = 0) -> Any:
    """Draw a state."""
    zero = model.initial_state(rows)
    generator = torch.Generator().manual_seed(seed)
    parts: list[Tensor] = []
    sizes = {variable.name: variable.type.size for variable in model.graph.inputs}
    for item, value in zip(carry_entries(model.graph), zero, strict=True):
        if value.is_floating_point():
            values = torch.randn(value.shape, generator=generator, dtype=torch.float64)
            parts.append((0.5 * values).to(value.dtype))
        else:
            # Integers that are no symbols are a segment's age, in models with windows.
            low, high = (-1, sizes[item.name]) if item.name in sizes else (0, 4)
            parts.append(torch.randint(low, high, value.shape, generator=generator))
    return type(zero)(*parts)


def feed(
    model: CompiledRNN,
    steps: int,
    rows: int,
    *,
    seed: int = 0,
    ragged: bool = False,
    reset: bool = False,
    carry: bool = False,
) -> CallArguments:
    """A whole call; `carry` is ignored for a model that runs backward and so has no state."""
    dtype = next((p.dtype for p in model.parameters()), torch.float64)
    return CallArguments(
        random_inputs(model.graph, steps, rows, seed=seed, dtype=dtype),
        random_state(model, rows, seed=seed) if carry and not model.runs_backward else None,
        random_lengths(steps, rows, seed=seed) if ragged else None,
        random_resets(steps, rows, seed=seed) if reset else None,
    )


def random_targets(model: CompiledRNN, y: Any, *, seed: int = 0) -> Any:
    """Draw targets of the shape of a call's scored outputs, as `model.loss` takes them."""
    outputs = model.graph.outputs
    ys = y if len(outputs) > 1 else (y,)
    values: list[Tensor] = []
    for index, (output, value) in enumerate(zip(outputs, ys, strict=True)):
        if output.unscored:
            continue
        drawn = random_values(
            output.type, tuple(value.shape[:-1]), value.dtype, 1000 * seed + 500 + index
        )
        values.append(drawn.clamp(min=0) if output.type.kind == "symbol" else drawn)
    return tuple(values) if len(values) > 1 else values[0]
