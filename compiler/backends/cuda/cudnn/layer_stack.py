"""A graph as torch.nn layers: the result of `layer_matching`, the input of `cudnn_layers`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

TorchLayerKind = Literal["LSTM", "GRU", "RNN_TANH", "RNN_RELU"]


@dataclass(frozen=True, slots=True)
class LayerGate:
    """W x + U h + biases, as parameter names; a GRU's reset gate scales `recurrent_biases`."""

    input_weight: str
    recurrent_weight: str
    biases: tuple[str, ...]
    recurrent_biases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TorchLayer:
    """One torch.nn layer, its gates in torch's order.

    input_node: an input, or the state of another layer at the same step.
    states: the names of h, and for an LSTM of c.
    """

    kind: TorchLayerKind
    input_node: int
    states: tuple[str, ...]
    gates: tuple[LayerGate, ...]
    input_size: int
    hidden_size: int


@dataclass(frozen=True, slots=True)
class Readout:
    """An output: weight · state + biases; without a weight (an empty name) the state itself."""

    state: int
    weight: str
    biases: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LayerStack:
    """A whole graph as layers in topological order, and its outputs."""

    layers: tuple[TorchLayer, ...]
    readouts: tuple[Readout, ...]
