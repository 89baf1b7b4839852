"""What is checked: one graph with its weights, made into modules on several backends."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from rnnc.compiler.backends.backend import Backend, Options, Saved
from rnnc.compiler.backends.reference import Reference
from rnnc.compiler.backends.registry import Backends
from rnnc.compiler.calls.flattening import Key
from rnnc.compiler.module.compiled_rnn import CompiledRNN
from rnnc.operators.graph.operator_graph import OperatorGraph
from rnnc.operators.semantics.call import Call, Result
from rnnc.operators.semantics.interpreter import Stopped, run
from rnnc.operators.sources.model_source import Program


@dataclass(frozen=True, slots=True)
class Place:
    """A backend, and where and how exactly it runs."""

    backend: str
    device: torch.device
    dtype: torch.dtype

    def __str__(self) -> str:
        where = "" if self.device.type == "cpu" else f" on {self.device}"
        return f"{self.backend}, {str(self.dtype).removeprefix('torch.')}{where}"


class Subject:
    """A graph, its weights in float64, and the modules made of them, each once.

    learned: the parameters that take gradients.
    own: the backends of a module that is checked as it is; they stand for every backend but the
        reference. batch_first: as that module takes its arguments.
    """

    def __init__(
        self,
        graph: OperatorGraph,
        weights: Mapping[str, Tensor],
        learned: frozenset[str],
        own: Backends | None = None,
        *,
        batch_first: bool = False,
    ) -> None:
        self.graph, self.weights, self.learned, self._own = graph, weights, learned, own
        self._batch_first = batch_first
        self._made: dict[Place, CompiledRNN] = {}

    @property
    def draws_in_training(self) -> bool:
        """Whether a call in training has more in it than one in evaluation."""
        graph = self.graph
        return bool(graph.random or graph.laws or graph.losses is not None) or any(
            parameter.weightdrop for parameter in graph.parameters
        )

    @property
    def runs_backward(self) -> tuple[str, ...]:
        """The states that run backward in time: such a model goes on from no state."""
        graph = self.graph
        return tuple(state.name for state in graph.states if state.node in graph.backward)

    @property
    def draws_states(self) -> bool:
        """Whether some state begins at a value that is drawn."""
        return any(state.initial.kind == "uniform" for state in self.graph.states)

    def on(self, place: Place) -> CompiledRNN:
        """The module at a place, in training."""
        if place not in self._made:
            self._made[place] = self._make(place)
        return self._made[place].train()

    @cached_property
    def holding(self) -> tuple[CompiledRNN, tuple[Stopped, ...]]:
        """A module on the reference in float64, and what its calls hold of `stopgrad`.

        A call without gradients fills the second where they are empty, and else takes what they
        hold: empty them before calls of another T or B.
        """
        model = self._make(Place("reference", torch.device("cpu"), torch.float64)).train()
        main = _HoldingBackends(self.graph)
        losses = self.graph.losses
        terms = _HoldingBackends(self.graph if losses is None else losses.graph)
        model._backends, model._term_backends = main, terms
        return model, (main.backend.stopped, terms.backend.stopped)

    def _make(self, place: Place) -> CompiledRNN:
        program = Program("", self.graph.name)
        model = CompiledRNN(
            self.graph, program, backend=place.backend, batch_first=self._batch_first
        )
        if self._own is not None and place.backend != "reference":
            model._backends = self._own
        model = model.to(place.device, place.dtype)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                parameter.copy_(self.weights[name]).requires_grad_(name in self.learned)
        return model


class _Holding(Reference):
    """The reference, which holds what `stopgrad` gave it in its first call."""

    name = "holding"

    def __init__(self, graph: OperatorGraph) -> None:
        super().__init__(graph, Options())
        self.stopped: Stopped = {}

    def forward(self, call: Call, wanted: tuple[Key, ...]) -> tuple[Result, Saved]:
        return run(call, self.stopped), Saved()


class _HoldingBackends(Backends):
    """That one, whatever is asked for."""

    def __init__(self, graph: OperatorGraph) -> None:
        super().__init__(graph, "reference")
        self.backend = _Holding(graph)

    def choose(self, like: Tensor) -> Backend:
        return self.backend
