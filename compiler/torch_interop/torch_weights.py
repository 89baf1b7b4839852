"""Copy weights between a compiled model and nn.RNN, LSTM or GRU, with layers and directions.

A torch layer is an operator here: `⊕` or `⊕₁`, `⊕₂`, … run forward, `⊗₁`, `⊗₂`, … backward. Torch
has two biases where one is enough: they are added on reading, and one is written as zero.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn

from rnnc.compiler.api import compile
from rnnc.compiler.module.compiled_rnn import CompiledRNN

from .torch_modules import TORCH_MODULES, TorchLayers, layers_to_spec, read_layers


@dataclass(frozen=True, slots=True)
class _LayerNames:
    """Names of the parameters of one kind of layer in a spec; gates in torch's order.

    `recurrent_bias` is the separate bias of the last gate's recurrent product, if it has one;
    `projection` the matrix that projects the cell to h, if there is one.
    """

    name: str
    input_weights: tuple[str, ...]
    recurrent_weights: tuple[str, ...]
    biases: tuple[str, ...]
    recurrent_bias: str = ""
    projection: str = ""

    @property
    def all_names(self) -> set[str]:
        """Return the names of all parameters of a layer."""
        optional = {name for name in (self.recurrent_bias, self.projection) if name}
        return {*self.input_weights, *self.recurrent_weights, *self.biases} | optional


_LSTM: Final = (
    ("Wi", "Wf", "Wg", "Wo"), ("Ui", "Uf", "Ug", "Uo"), ("bi", "bf", "bg", "bo"),
)  # fmt: skip
_LAYER_NAMES: Final = (
    _LayerNames("RNN", ("U",), ("W",), ("b",)),
    _LayerNames("LSTM", *_LSTM),
    _LayerNames("LSTM", *_LSTM, projection="P"),
    _LayerNames(
        "GRU", ("Wr", "Wz", "Wn"), ("Ur", "Uz", "Un"), ("br", "bz", "bn"), recurrent_bias="bm"
    ),
)


def from_torch(
    module: nn.RNNBase,
    *,
    readout: int | None = None,
    backend: str = "auto",
    **other: object,
) -> CompiledRNN:
    """Compile a model equal to a torch module: `from_torch(m)(x)[0]` is `m(x)[0]`.

    Layers, directions, projection, activation, dropout between layers, `batch_first`, dtype, device
    and mode are the module's. Its state, by torch's layout, is `torch_state(model, state)`.

    Args:
        module: an nn.RNN, nn.LSTM or nn.GRU.
        readout: the width of a fresh linear layer on top, `predict.V` and `predict.b`.
        backend: as in `rnnc.compile`.
        **other: refused; earlier versions took `classes`, which is `readout` now.

    Raises:
        ValueError: when it is another module, or an argument does not fit.
    """
    if other:
        name, value = next(iter(other.items()))
        hint = f": write readout={value}" if name == "classes" else ""
        raise ValueError(f"{name}: from_torch takes `readout` and `backend` alone{hint}")
    if readout is not None and (isinstance(readout, bool) or not isinstance(readout, int)):
        raise ValueError(f"readout: expected an integer, got {readout!r}")
    if readout is not None and readout < 1:
        raise ValueError(f"readout: expected an integer from 1 up, got {readout}")
    if isinstance(module, Mapping):
        raise ValueError("expected a module, got a state dict: load_torch(model, state_dict)")
    layers = read_layers(module)
    model = compile(
        layers_to_spec(layers, readout), batch_first=layers.batch_first, backend=backend
    )
    first_weight = next(iter(layers.weights.values()))
    model = model.to(device=first_weight.device, dtype=first_weight.dtype)
    load_torch(model, module)
    if not any(weight.requires_grad for weight in module.parameters()):
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(name.startswith("predict."))
    return model.train(module.training)


def torch_state(model: CompiledRNN, state: Any) -> Tensor | tuple[Tensor, Tensor]:
    """Convert the state of a model of torch's layers to torch's form: h, or (h, c) of an LSTM.

    Each is (layers, B, width), from the bottom up.

    Raises:
        ValueError: when the model has no such layers, or runs backward, too: such a model has no
            state, and torch's h and c of both directions are its outputs at both ends.
    """
    for kind in _LAYER_NAMES:
        stacks = _operator_stacks(model, kind)
        if not stacks:
            continue
        if len(stacks) == 2 or model.runs_backward:
            raise ValueError("expected a model that runs forward alone: others have no state")
        expected = len(stacks[0]) * (2 if kind.name == "LSTM" else 1)
        if not isinstance(state, tuple) or len(state) != expected:
            raise ValueError(f"expected a state of {expected} parts, as the model returned it")
        if kind.name != "LSTM":
            return torch.stack(state)
        return torch.stack(state[::2]), torch.stack(state[1::2])
    raise ValueError("expected a model whose operators are layers of an nn.RNN, LSTM or GRU")


def load_torch(model: CompiledRNN, source: nn.RNNBase | Mapping[str, Tensor]) -> None:
    """Copy the weights of a torch module into a model's operators that are its layers.

    `source` may be a state dict, too: of the module, or of one that holds it and no other.

    Raises:
        ValueError: when the model has no such operators, or they have other sizes.
    """
    layers = read_layers(source)
    kind = _layer_names(layers)
    stacks = _operator_stacks(model, kind)
    if not stacks:
        projected = ", projected" if layers.projection else ""
        raise ValueError(
            f"expected a model with the operators of an nn.{kind.name}{projected}, got none"
        )
    expected, got = (layers.layers, 1 + layers.bidirectional), (len(stacks[0]), len(stacks))
    if expected != got:
        raise ValueError(f"expected {expected} layers and directions, got {got}")
    if layers.activation and _activations(model, stacks) != {layers.activation}:
        raise ValueError(f"expected operators of {layers.activation}, as the nn.RNN has")
    values = _read_weights(layers, kind, stacks)
    for name, value in values.items():
        shape = tuple(model.get_parameter(name).shape)
        if shape != tuple(value.shape):
            raise ValueError(f"{name}: expected {shape}, got {tuple(value.shape)}")
    with torch.no_grad():
        for name, value in values.items():
            model.get_parameter(name).copy_(value)


def to_torch(model: CompiledRNN) -> nn.RNNBase:
    """Build a torch module with the weights of a model's operators; the readout is left out.

    Raises:
        ValueError: when the operators are no layers that torch has.
    """
    for kind in _LAYER_NAMES:
        stacks = _operator_stacks(model, kind)
        if stacks:
            return _build_module(model, kind, stacks)
    raise ValueError("expected a model whose operators are layers of an nn.RNN, LSTM or GRU")


def _layer_names(layers: TorchLayers) -> _LayerNames:
    for kind in _LAYER_NAMES:
        if kind.name == layers.kind and bool(kind.projection) == bool(layers.projection):
            return kind
    raise AssertionError(layers.kind)


def _operator_stacks(model: CompiledRNN, kind: _LayerNames) -> list[list[str]]:
    """Return the operators that are layers, forward then backward, from the bottom up."""
    owned: dict[str, set[str]] = {}
    for parameter in model.graph.parameters:
        operator, _, name = parameter.name.rpartition(".")
        owned.setdefault(operator, set()).add(name)
    stacks: list[list[str]] = []
    for word in ("plus", "times"):
        lone = [word] if owned.get(word) == kind.all_names else []
        layers: list[str] = []
        while owned.get(f"{word}_{len(layers) + 1}") == kind.all_names:
            layers.append(f"{word}_{len(layers) + 1}")
        if not (lone or layers):
            break
        stacks.append(lone or layers)
    return stacks if len({len(stack) for stack in stacks}) == 1 else []


def _activations(model: CompiledRNN, stacks: list[list[str]]) -> set[str]:
    graph = model.graph
    operators = {operator for stack in stacks for operator in stack}
    application_ids = {a.id for a in graph.applications if a.path in operators}
    return {
        node.operation
        for node in graph.nodes
        if node.application in application_ids
        and node.operation not in {"parameter", "matmul", "lookup", "add"}
    }


def _read_weights(
    layers: TorchLayers, kind: _LayerNames, stacks: list[list[str]]
) -> dict[str, Tensor]:
    values: dict[str, Tensor] = {}
    gates = len(kind.input_weights)
    for stack, tails in zip(stacks, layers.name_suffixes, strict=True):
        for operator, tail in zip(stack, tails, strict=True):
            weights = layers.weights[f"weight_ih_{tail}"].chunk(gates)
            recurrent = layers.weights[f"weight_hh_{tail}"].chunk(gates)
            zero = weights[0].new_zeros(gates * layers.hidden)
            input_biases, recurrent_biases = (
                layers.weights.get(f"bias_{side}_{tail}", zero).chunk(gates)
                for side in ("ih", "hh")
            )
            for gate in range(gates):
                values[f"{operator}.{kind.input_weights[gate]}"] = weights[gate]
                values[f"{operator}.{kind.recurrent_weights[gate]}"] = recurrent[gate]
                values[f"{operator}.{kind.biases[gate]}"] = (
                    input_biases[gate] + recurrent_biases[gate]
                )
            if kind.recurrent_bias:
                values[f"{operator}.{kind.biases[-1]}"] = input_biases[-1]
                values[f"{operator}.{kind.recurrent_bias}"] = recurrent_biases[-1]
            if kind.projection:
                values[f"{operator}.{kind.projection}"] = layers.weights[f"weight_hr_{tail}"]
    return values


def _build_module(model: CompiledRNN, kind: _LayerNames, stacks: list[list[str]]) -> nn.RNNBase:
    input_weight = model.get_parameter(f"{stacks[0][0]}.{kind.input_weights[0]}")
    hidden, width = input_weight.shape
    rates = {float(n.attributes[0]) for n in model.graph.nodes if n.operation == "dropout"}
    arguments: dict[str, Any] = {
        "dropout": rates.pop() if len(rates) == 1 and len(stacks[0]) > 1 else 0.0,
        "num_layers": len(stacks[0]),
        "bidirectional": len(stacks) == 2,
        "batch_first": model.batch_first,
        "device": input_weight.device,
        "dtype": input_weight.dtype,
    }
    if kind.name == "RNN":
        (activation, *others) = _activations(model, stacks)
        if others or activation not in {"tanh", "relu"}:
            raise ValueError(f"expected operators of tanh or relu, got {activation}")
        arguments["nonlinearity"] = activation
    if kind.projection:
        matrix = model.get_parameter(f"{stacks[0][0]}.{kind.projection}")
        arguments["proj_size"], hidden = matrix.shape
    make: Any = TORCH_MODULES[kind.name]
    module: nn.RNNBase = make(width, hidden, **arguments)
    with torch.no_grad():
        for direction, stack in enumerate(stacks):
            for layer, operator in enumerate(stack):
                tail = f"l{layer}{'_reverse' if direction else ''}"
                _write_weights(module, tail, kind, model, operator)
    return module


def _write_weights(
    module: nn.RNNBase, tail: str, kind: _LayerNames, model: CompiledRNN, operator: str
) -> None:
    def joined(names: tuple[str, ...]) -> Tensor:
        return torch.cat([model.get_parameter(f"{operator}.{name}") for name in names])

    for side, names in (("ih", kind.input_weights), ("hh", kind.recurrent_weights)):
        weight = module.get_parameter(f"weight_{side}_{tail}")
        if weight.shape != (joined_weight := joined(names)).shape:
            got = tuple(joined_weight.shape)
            raise ValueError(f"{operator}: expected {tuple(weight.shape)} for torch, got {got}")
        weight.copy_(joined_weight)
    module.get_parameter(f"bias_ih_{tail}").copy_(joined(kind.biases))
    recurrent_bias = module.get_parameter(f"bias_hh_{tail}").zero_()
    if kind.recurrent_bias:
        recurrent_bias[-module.hidden_size :] = model.get_parameter(
            f"{operator}.{kind.recurrent_bias}"
        )
    if kind.projection:
        matrix = model.get_parameter(f"{operator}.{kind.projection}")
        module.get_parameter(f"weight_hr_{tail}").copy_(matrix)
