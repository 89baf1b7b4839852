"""Draw weights, and arguments of a call, from fixed seeds, equal at every run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch
from torch import Tensor

from rnnc.compiler.module.compiled_rnn import CompiledRNN
from rnnc.compiler.module.initializers import initialize_parameter
from rnnc.operators.graph.carry import carry_entries
from rnnc.operators.graph.operator_graph import OperatorGraph
from rnnc.operators.graph.types import Type

from .cases import Case


@dataclass(frozen=True, slots=True)
class Arguments:
    """Arguments of one call, time first.

    x: by name; past a row's length there is NaN, which must touch nothing.
    """

    x: dict[str, Tensor]
    state: Any
    lengths: Tensor | None
    resets: Tensor | None


@contextmanager
def preserve_rng_state() -> Iterator[None]:
    """Restore torch's random generators on exit."""
    is_initialized = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    devices = range(torch.cuda.device_count()) if is_initialized else ()
    with torch.random.fork_rng(devices=devices):
        yield


def like_of(model: CompiledRNN) -> Tensor:
    """Return a tensor of the model's device and dtype; a model of constants has only buffers."""
    return next(chain(model.parameters(), model.buffers()))


def seed_device(device: torch.device) -> None:
    """Seed the generators of a device."""
    torch.default_generator.manual_seed(2)
    if device.type == "cuda":
        torch.cuda.default_generators[device.index or 0].manual_seed(2)


def draw_weights(graph: OperatorGraph) -> dict[str, Tensor]:
    """Draw every parameter in float64, and move it away from its initial value.

    Biases, gains, learned initial values and frozen parameters too: a zero or a one would hide
    mistakes.
    """
    weights: dict[str, Tensor] = {}
    with preserve_rng_state():
        seed_device(torch.device("cpu"))
        for parameter in graph.parameters:
            start = initialize_parameter(parameter).double()
            scale = 0.5 / max(1, start.shape[-1]) ** 0.5 if start.dim() > 1 else 0.3
            weights[parameter.name] = start + scale * torch.randn_like(start)
    return weights


def draw_arguments(
    model: CompiledRNN, case: Case, *, seed: int = 0, smooth: bool = False
) -> Arguments:
    """Draw the arguments of a case, on the model's device and in its dtype.

    smooth: True draws `binary` inputs between 0 and 1, so that sums of them meet no kink of a
        function.
    """
    graph, like = model.graph, like_of(model)
    generator = torch.Generator().manual_seed(1000 + seed)
    shape = (case.steps, case.rows)
    x = {v.name: _draw_values(v.type, shape, generator, smooth) for v in graph.inputs}
    lengths = None
    if case.lengths:
        lengths = torch.tensor([case.steps // 2, case.steps, 0] * case.rows)[: case.rows]
        is_padding = torch.arange(case.steps).unsqueeze(-1) >= lengths
        for name, value in x.items():
            if value.is_floating_point():
                x[name] = value.masked_fill(is_padding.unsqueeze(-1), torch.nan)
    resets = None
    if case.resets:
        resets = torch.rand(shape, generator=generator) < 0.3
        resets[case.steps // 2, -1] = True
        resets &= case.resets == "some"
    state = _draw_state(model, case.rows, generator) if case.carry else None

    def moved(value: Tensor) -> Tensor:
        if not value.is_floating_point():
            return value.to(like.device)
        return value.to(like.device, like.dtype).requires_grad_(case.carry)

    return Arguments(
        {name: moved(value) for name, value in x.items()},
        None if state is None else type(state)(*map(moved, state)),
        None if lengths is None else lengths.to(like.device),
        None if resets is None else resets.to(like.device),
    )


def draw_targets(
    model: CompiledRNN, outputs: tuple[Tensor, ...], arguments: Arguments
) -> dict[str, Tensor]:
    """Draw targets for `model.loss` by name: of scored outputs, and next values of inputs."""
    generator = torch.Generator().manual_seed(5)
    like = like_of(model)
    types_and_shapes: dict[str, tuple[Type, tuple[int, ...]]] = {}
    for variable in model.graph.loss_targets:
        steps, rows = arguments.x[variable.name].shape[:2]
        given_shape = (rows, steps) if model.batch_first else (steps, rows)
        types_and_shapes[variable.name] = (variable.type, given_shape)
    for output, y in zip(model.graph.outputs, outputs, strict=True):
        if not output.unscored:
            types_and_shapes[output.predicted_input or output.name] = (
                output.type,
                tuple(y.shape[:-1]),
            )
    targets: dict[str, Tensor] = {}
    for name, (type_, shape) in types_and_shapes.items():
        value = _draw_values(type_, shape, generator, smooth=False)
        value = value.to(like.dtype) if value.is_floating_point() else value.clamp(min=0)
        targets[name] = value.to(like.device)
    return targets


def _draw_values(
    type_: Type, shape: tuple[int, ...], generator: torch.Generator, smooth: bool
) -> Tensor:
    if type_.kind == "symbol":
        symbols = torch.randint(-1, type_.size, shape, generator=generator)
        if symbols.numel() > 1:
            symbols.view(-1)[1] = -1
        return symbols
    values = torch.randn(*shape, type_.size, generator=generator, dtype=torch.float64)
    if type_.kind != "binary":
        return values
    return values.sigmoid() if smooth else (values > 0).double()


def _draw_state(model: CompiledRNN, rows: int, generator: torch.Generator) -> Any:
    """Draw a state: random values, symbols with none (−1) among them, and small ages."""
    zero = model.initial_state(rows)
    sizes = {variable.name: variable.type.size for variable in model.graph.inputs}
    parts: list[Tensor] = []
    for item, value in zip(carry_entries(model.graph), zero, strict=True):
        if value.is_floating_point():
            parts.append(0.7 * torch.randn(value.shape, generator=generator, dtype=torch.float64))
        else:
            low, high = (-1, sizes[item.name]) if item.name in sizes else (0, 4)
            parts.append(torch.randint(low, high, value.shape, generator=generator))
    return type(zero)(*parts)
