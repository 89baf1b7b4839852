"""A benchmark workload: a model with its weights, its inputs and its output gradients."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from rnnc.compiler.api import compile_program
from rnnc.compiler.module.compiled_rnn import CompiledRNN
from rnnc.operators.graph.operator_graph import OperatorGraph
from rnnc.operators.sources.model_source import ModelSource


@dataclass(frozen=True)
class Workload:
    """A model, T steps of B rows; to compute: outputs, and gradients of all parameters.

    model: holds the weights of every candidate; it runs on the reference.
    inputs: by name; (T, B, n) of float32, or (T, B) of symbols.
    output_gradients: in the graph's order of outputs; a training step starts its backward pass from
        them, so that no loss and no optimizer is timed.
    """

    model: CompiledRNN
    steps: int
    rows: int
    inputs: Mapping[str, Tensor]
    output_gradients: tuple[Tensor, ...]

    @property
    def device(self) -> torch.device:
        """Device of all tensors."""
        return self.output_gradients[0].device

    @property
    def graph(self) -> OperatorGraph:
        """Operator graph of the model."""
        return self.model.graph

    def compile(self, backend: str, **options: Any) -> CompiledRNN:
        """Compile the model for another backend, with the same weights.

        Raises:
            RnnError: RNN501, when that backend cannot run it.
        """
        model = compile_program(self.model.program, backend=backend, **options)
        model.load_state_dict(self.model.state_dict())
        return model.to(self.device, self.output_gradients[0].dtype)


def make_workload(
    program: ModelSource,
    steps: int,
    rows: int,
    *,
    seed: int = 0,
    device: str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Workload:
    """Draw weights, inputs and gradients from a seed; the same on every device."""
    torch.manual_seed(seed)
    model = compile_program(program, backend="reference")
    return _move_workload(_fill_arguments(model, steps, rows), torch.device(device), dtype)


def resize_workload(workload: Workload, steps: int, rows: int) -> Workload:
    """Draw arguments of another size for the same model."""
    return _move_workload(
        _fill_arguments(workload.model, steps, rows),
        workload.device,
        workload.output_gradients[0].dtype,
    )


def _move_workload(workload: Workload, device: torch.device, dtype: torch.dtype) -> Workload:
    inputs = {
        name: value.to(device, dtype if value.is_floating_point() else None)
        for name, value in workload.inputs.items()
    }
    output_gradients = tuple(gradient.to(device, dtype) for gradient in workload.output_gradients)
    return Workload(
        workload.model.to(device, dtype), workload.steps, workload.rows, inputs, output_gradients
    )


def _fill_arguments(model: CompiledRNN, steps: int, rows: int) -> Workload:
    inputs = {
        v.name: _random_input(v.type.kind, v.type.size, steps, rows) for v in model.graph.inputs
    }
    output_gradients = tuple(
        torch.randn(*((rows,) if output.at_end else (steps, rows)), output.type.size)
        for output in model.graph.outputs
    )
    return Workload(model, steps, rows, inputs, output_gradients)


def _random_input(kind: str, size: int, steps: int, rows: int) -> Tensor:
    if kind == "symbol":
        return torch.randint(0, size, (steps, rows))
    values = torch.randn(steps, rows, size)
    return (values > 0).to(values.dtype) if kind == "binary" else values
