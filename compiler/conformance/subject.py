"""The model under verification: one graph with weights, compiled for several targets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from rnnc.compiler.backends.backend import Backend, Options, Residuals
from rnnc.compiler.backends.reference import ReferenceBackend
from rnnc.compiler.backends.registry import Backends
from rnnc.compiler.calls.flattening import TensorKey
from rnnc.compiler.module.compiled_rnn import CompiledRNN
from rnnc.operators.graph.operator_graph import OperatorGraph
from rnnc.operators.semantics.call import Call, CallResult
from rnnc.operators.semantics.interpreter import StopGradientValues, interpret
from rnnc.operators.sources.model_source import ModelSource


@dataclass(frozen=True, slots=True)
class ExecutionTarget:
    """Backend, device and dtype."""

    backend: str
    device: torch.device
    dtype: torch.dtype

    def __str__(self) -> str:
        where = "" if self.device.type == "cpu" else f" on {self.device}"
        return f"{self.backend}, {str(self.dtype).removeprefix('torch.')}{where}"


class Subject:
    """Graph, its weights in float64, and the modules compiled from them, each once.

    trainable: names of the parameters that require gradients.
    module_backends: the backends of a module that is verified as it is; they stand for every
        backend but the reference. batch_first: as in that module.
    """

    def __init__(
        self,
        graph: OperatorGraph,
        weights: Mapping[str, Tensor],
        trainable: frozenset[str],
        module_backends: Backends | None = None,
        *,
        batch_first: bool = False,
    ) -> None:
        self.graph, self.weights, self.trainable = graph, weights, trainable
        self._module_backends, self._batch_first = module_backends, batch_first
        self._modules: dict[ExecutionTarget, CompiledRNN] = {}

    @property
    def draws_in_training(self) -> bool:
        """Return True if calls in training draw random numbers or add losses."""
        graph = self.graph
        return bool(graph.random_nodes or graph.laws or graph.loss_graph is not None) or any(
            parameter.weightdrop for parameter in graph.parameters
        )

    @property
    def runs_backward(self) -> tuple[str, ...]:
        """Return the states that run backward in time: such a model takes no state."""
        graph = self.graph
        return tuple(state.name for state in graph.states if state.node in graph.backward_nodes)

    @property
    def has_random_states(self) -> bool:
        """Return True if a state starts from a random value."""
        return any(state.initial_value.kind == "uniform" for state in self.graph.states)

    def module_for(self, target: ExecutionTarget) -> CompiledRNN:
        """Return the module for an execution target, in training mode."""
        if target not in self._modules:
            self._modules[target] = self._build(target)
        return self._modules[target].train()

    @cached_property
    def module_with_frozen_stopgrad(self) -> tuple[CompiledRNN, tuple[StopGradientValues, ...]]:
        """Return a float64 reference module, and the `stopgrad` values its calls hold constant.

        A call without gradients fills these tables if they are empty, and else uses their values:
        empty them before calls of another T or B.
        """
        model = self._build(
            ExecutionTarget("reference", torch.device("cpu"), torch.float64)
        ).train()
        main = _FrozenStopgradBackends(self.graph)
        losses = self.graph.loss_graph
        terms = _FrozenStopgradBackends(self.graph if losses is None else losses.graph)
        model._backends, model._term_backends = main, terms
        return model, (main.backend.stopgrad_values, terms.backend.stopgrad_values)

    def _build(self, target: ExecutionTarget) -> CompiledRNN:
        program = ModelSource("", self.graph.name)
        model = CompiledRNN(
            self.graph, program, backend=target.backend, batch_first=self._batch_first
        )
        if self._module_backends is not None and target.backend != "reference":
            model._backends = self._module_backends
        model = model.to(target.device, target.dtype)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                parameter.copy_(self.weights[name]).requires_grad_(name in self.trainable)
        return model


class _FrozenStopgradReference(ReferenceBackend):
    """Reference that reuses the `stopgrad` values of its first call."""

    name = "holding"

    def __init__(self, graph: OperatorGraph) -> None:
        super().__init__(graph, Options())
        self.stopgrad_values: StopGradientValues = {}

    def forward(self, call: Call, wrt: tuple[TensorKey, ...]) -> tuple[CallResult, Residuals]:
        return interpret(call, self.stopgrad_values), Residuals()


class _FrozenStopgradBackends(Backends):
    """Backends that always choose that reference."""

    def __init__(self, graph: OperatorGraph) -> None:
        super().__init__(graph, "reference")
        self.backend = _FrozenStopgradReference(graph)

    def choose(self, like: Tensor) -> Backend:
        return self.backend
