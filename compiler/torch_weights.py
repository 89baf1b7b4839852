"""Weights from torch.nn.RNN, LSTM and GRU, and back, with several layers and both directions.

A layer of torch's is an operator here: `⊕` or `⊕₁`, `⊕₂`, … run forward, `⊗₁`, `⊗₂`, … backward.
Torch has two biases where one is enough: their sum is read, and one of them is written as zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn

from .api import compile
from .module import CompiledRNN


@dataclass(frozen=True, slots=True)
class _Kind:
    """What a layer of one kind of module is called here; gates in torch's order.

    `split` is the bias of the last gate's recurrent product, where it is one of its own.
    """

    name: str
    inputs: tuple[str, ...]
    recurrent: tuple[str, ...]
    biases: tuple[str, ...]
    split: str = ""

    @property
    def names(self) -> set[str]:
        """All parameters of a layer."""
        own = {*self.inputs, *self.recurrent, *self.biases}
        return own | {self.split} if self.split else own


_KINDS: Final = (
    _Kind("RNN", ("U",), ("W",), ("b",)),
    _Kind("LSTM", ("Wi", "Wf", "Wg", "Wo"), ("Ui", "Uf", "Ug", "Uo"), ("bi", "bf", "bg", "bo")),
    _Kind("GRU", ("Wr", "Wz", "Wn"), ("Ur", "Uz", "Un"), ("br", "bz", "bn"), "bm"),
)
_ZOO: Final = {
    ("RNN", False): "srnn",
    ("RNN", True): "birnn",
    ("LSTM", False): "lstm",
    ("LSTM", True): "bilstm",
    ("GRU", False): "gru",
    ("GRU", True): "bigru",
}


def from_torch(module: nn.RNNBase, **parameters: int | float) -> CompiledRNN:
    """The zoo model that a torch module is, with its weights; the readout is a fresh one.

    `parameters` are others of the zoo model's, such as `classes`.

    Raises:
        ValueError: when no zoo model is that module.
    """
    kind = _kind_of(module)
    if module.mode == "RNN_RELU":
        raise ValueError("expected an nn.RNN of tanh, got relu: no model of the zoo has it")
    sizes = {"layers": module.num_layers, "hidden": module.hidden_size, "notes": module.input_size}
    name = _ZOO[kind.name, module.bidirectional]
    model = compile(
        f"zoo:{name}", batch_first=module.batch_first, parameters={**sizes, **parameters}
    )
    first = next(module.parameters())
    model = model.to(device=first.device, dtype=first.dtype)
    load_torch(model, module)
    return model


def load_torch(model: CompiledRNN, module: nn.RNNBase) -> None:
    """Copy the weights of a torch module into the operators of a model that are its layers.

    Raises:
        ValueError: when the model has no such operators, or they have other sizes.
    """
    kind = _kind_of(module)
    stacks = _stacks(model, kind)
    if not stacks:
        raise ValueError(f"expected a model with the operators of an nn.{kind.name}, got none")
    wanted, got = (module.num_layers, 1 + module.bidirectional), (len(stacks[0]), len(stacks))
    if wanted != got:
        raise ValueError(f"expected {wanted} layers and directions, got {got}")
    if kind.name == "RNN":
        activation = "relu" if module.mode == "RNN_RELU" else "tanh"
        if _activations(model, stacks) != {activation}:
            raise ValueError(f"expected operators of {activation}, as the nn.RNN has")
    values = _read(module, kind, stacks)
    for name, value in values.items():
        shape = tuple(model.get_parameter(name).shape)
        if shape != tuple(value.shape):
            raise ValueError(f"{name}: expected {shape}, got {tuple(value.shape)}")
    with torch.no_grad():
        for name, value in values.items():
            model.get_parameter(name).copy_(value)


def to_torch(model: CompiledRNN) -> nn.RNNBase:
    """A torch module with the weights of a model's operators; its readout is left out.

    Raises:
        ValueError: when the operators are no layers that torch has.
    """
    for kind in _KINDS:
        stacks = _stacks(model, kind)
        if stacks:
            return _module(model, kind, stacks)
    raise ValueError("expected a model whose operators are layers of an nn.RNN, LSTM or GRU")


def _kind_of(module: nn.RNNBase) -> _Kind:
    name = getattr(module, "mode", "").partition("_")[0]
    for kind in _KINDS:
        if kind.name == name and isinstance(module, nn.RNNBase):
            if getattr(module, "proj_size", 0):
                raise ValueError("expected an nn.LSTM without a projection, got proj_size > 0")
            return kind
    raise ValueError(f"expected an nn.RNN, nn.LSTM or nn.GRU, got {type(module).__name__}")


def _stacks(model: CompiledRNN, kind: _Kind) -> list[list[str]]:
    """The operators that are layers, forward and then backward ones, from the bottom up."""
    owned: dict[str, set[str]] = {}
    for parameter in model.graph.parameters:
        operator, _, name = parameter.name.rpartition(".")
        owned.setdefault(operator, set()).add(name)
    stacks: list[list[str]] = []
    for word in ("plus", "times"):
        lone = [word] if owned.get(word) == kind.names else []
        layers: list[str] = []
        while owned.get(f"{word}_{len(layers) + 1}") == kind.names:
            layers.append(f"{word}_{len(layers) + 1}")
        if not (lone or layers):
            break
        stacks.append(lone or layers)
    return stacks if len({len(stack) for stack in stacks}) == 1 else []


def _activations(model: CompiledRNN, stacks: list[list[str]]) -> set[str]:
    graph = model.graph
    operators = {operator for stack in stacks for operator in stack}
    inside = {a.number for a in graph.applications if a.path in operators}
    return {
        node.operation
        for node in graph.nodes
        if node.application in inside
        and node.operation not in {"parameter", "matmul", "lookup", "add"}
    }


def _read(module: nn.RNNBase, kind: _Kind, stacks: list[list[str]]) -> dict[str, Tensor]:
    values: dict[str, Tensor] = {}
    gates = len(kind.inputs)
    for direction, stack in enumerate(stacks):
        for layer, operator in enumerate(stack):
            tail = f"l{layer}{'_reverse' if direction else ''}"
            weights = module.get_parameter(f"weight_ih_{tail}").detach().chunk(gates)
            recurrent = module.get_parameter(f"weight_hh_{tail}").detach().chunk(gates)
            zero = weights[0].new_zeros(gates * module.hidden_size)
            biases = [
                (
                    module.get_parameter(f"bias_{side}_{tail}").detach() if module.bias else zero
                ).chunk(gates)
                for side in ("ih", "hh")
            ]
            for gate in range(gates):
                values[f"{operator}.{kind.inputs[gate]}"] = weights[gate]
                values[f"{operator}.{kind.recurrent[gate]}"] = recurrent[gate]
                values[f"{operator}.{kind.biases[gate]}"] = biases[0][gate] + biases[1][gate]
            if kind.split:
                values[f"{operator}.{kind.biases[-1]}"] = biases[0][-1]
                values[f"{operator}.{kind.split}"] = biases[1][-1]
    return values


def _module(model: CompiledRNN, kind: _Kind, stacks: list[list[str]]) -> nn.RNNBase:
    first = model.get_parameter(f"{stacks[0][0]}.{kind.inputs[0]}")
    hidden, width = first.shape
    arguments = {
        "num_layers": len(stacks[0]),
        "bidirectional": len(stacks) == 2,
        "batch_first": model.batch_first,
        "device": first.device,
        "dtype": first.dtype,
    }
    if kind.name == "RNN":
        (activation, *others) = _activations(model, stacks)
        if others or activation not in {"tanh", "relu"}:
            raise ValueError(f"expected operators of tanh or relu, got {activation}")
        arguments["nonlinearity"] = activation
    module: nn.RNNBase = getattr(nn, kind.name)(width, hidden, **arguments)
    with torch.no_grad():
        for direction, stack in enumerate(stacks):
            for layer, operator in enumerate(stack):
                tail = f"l{layer}{'_reverse' if direction else ''}"
                _write(module, tail, kind, model, operator)
    return module


def _write(module: nn.RNNBase, tail: str, kind: _Kind, model: CompiledRNN, operator: str) -> None:
    def joined(names: tuple[str, ...]) -> Tensor:
        return torch.cat([model.get_parameter(f"{operator}.{name}") for name in names])

    for side, names in (("ih", kind.inputs), ("hh", kind.recurrent)):
        weight = module.get_parameter(f"weight_{side}_{tail}")
        if weight.shape != (wanted := joined(names)).shape:
            got = tuple(wanted.shape)
            raise ValueError(f"{operator}: expected {tuple(weight.shape)} for torch, got {got}")
        weight.copy_(wanted)
    module.get_parameter(f"bias_ih_{tail}").copy_(joined(kind.biases))
    second = module.get_parameter(f"bias_hh_{tail}").zero_()
    if kind.split:
        second[-module.hidden_size :] = model.get_parameter(f"{operator}.{kind.split}")
