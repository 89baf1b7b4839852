"""Read the layers of nn.RNN, LSTM or GRU from a module or state dict; write them as a spec."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from torch import Tensor, nn

TORCH_MODULES: Final[dict[str, type[nn.RNNBase]]] = {"RNN": nn.RNN, "LSTM": nn.LSTM, "GRU": nn.GRU}
GATE_COUNTS: Final = {"RNN": 1, "LSTM": 4, "GRU": 3}


@dataclass(frozen=True, slots=True)
class TorchLayers:
    """Layers of an nn.RNN, LSTM or GRU.

    weights: by torch's names (`weight_ih_l0`, …), shaped as torch shapes them.
    projection: the width of an LSTM's projected h, 0 without one.
    activation: of an nn.RNN; None if a state dict leaves it open.
    """

    kind: str
    weights: Mapping[str, Tensor]
    inputs: int
    hidden: int
    layers: int
    bidirectional: bool
    projection: int = 0
    activation: str | None = None
    dropout: float = 0.0
    batch_first: bool = False

    @property
    def width(self) -> int:
        """Return the width of h in one direction."""
        return self.projection or self.hidden

    @property
    def name_suffixes(self) -> list[list[str]]:
        """Return the suffixes of torch's parameter names, by direction and layer."""
        directions = ("", "_reverse") if self.bidirectional else ("",)
        return [[f"l{layer}{end}" for layer in range(self.layers)] for end in directions]


def read_layers(source: nn.Module | Mapping[str, Tensor]) -> TorchLayers:
    """Read the layers of a module, or of a state dict that holds one such module.

    Raises:
        ValueError: when it is no nn.RNN, LSTM or GRU, or one whose forward pass is another.
    """
    if isinstance(source, Mapping):
        return _from_state_dict(source)
    name = type(source).__name__
    kind = getattr(source, "mode", "").partition("_")[0]
    if not isinstance(source, nn.RNNBase) or kind not in TORCH_MODULES:
        raise ValueError(f"expected an nn.RNN, nn.LSTM or nn.GRU, got {name}")
    if type(source).forward is not TORCH_MODULES[kind].forward:
        raise ValueError(f"expected nn.{kind}'s own forward pass, and {name} has another one")
    # By attribute: parameters that torch.nn.utils has parametrized are computed on access.
    weights = {name: getattr(source, name).detach() for name in source._flat_weights_names}
    return TorchLayers(
        kind,
        weights,
        source.input_size,
        source.hidden_size,
        source.num_layers,
        source.bidirectional,
        source.proj_size,
        {"RNN_TANH": "tanh", "RNN_RELU": "relu"}.get(source.mode),
        source.dropout,
        source.batch_first,
    )


def _from_state_dict(state: Mapping[str, Tensor]) -> TorchLayers:
    first_name = "weight_ih_l0"
    prefixes = [key.removesuffix(first_name) for key in state if key.endswith(first_name)]
    if len(prefixes) != 1:
        prefix_list = ", ".join(f"`{prefix}`" for prefix in prefixes) or "none"
        raise ValueError(f"expected the state dict of one nn.RNN, LSTM or GRU, got {prefix_list}")
    layer_state = {
        k.removeprefix(prefixes[0]): v for k, v in state.items() if k.startswith(prefixes[0])
    }
    weights = {k: v.detach() for k, v in layer_state.items() if k.startswith(("weight_", "bias_"))}
    if "weight_hh_l0" not in weights or any(
        v.dim() != 1 + (k[0] == "w") for k, v in weights.items()
    ):
        raise ValueError("expected matrices `weight_ih_l0` and `weight_hh_l0` in the state dict")
    rows, inputs = weights[first_name].shape
    width = weights["weight_hh_l0"].shape[1]
    projected = weights.get("weight_hr_l0")
    hidden = width if projected is None else projected.shape[1]
    gates = {count: kind for kind, count in GATE_COUNTS.items()}
    if not hidden or rows % hidden or rows // hidden not in gates:
        raise ValueError(f"{first_name}: expected 1, 3 or 4 times {hidden} rows, got {rows}")
    layers = 0
    while f"weight_ih_l{layers}" in weights:
        layers += 1
    result = TorchLayers(
        gates[rows // hidden],
        weights,
        inputs,
        hidden,
        layers,
        f"{first_name}_reverse" in weights,
        0 if projected is None else width,
    )
    _check_weights(result)
    return result


def _check_weights(layers: TorchLayers) -> None:
    """Check that a state dict has every tensor of its layers, in torch's shape."""
    bias = "bias_ih_l0" in layers.weights
    expected: dict[str, tuple[int, ...]] = {}
    rows = GATE_COUNTS[layers.kind] * layers.hidden
    for stack in layers.name_suffixes:
        for layer, tail in enumerate(stack):
            below = layers.inputs if not layer else layers.width * (1 + layers.bidirectional)
            expected[f"weight_ih_{tail}"] = (rows, below)
            expected[f"weight_hh_{tail}"] = (rows, layers.width)
            if bias:
                expected |= {f"bias_ih_{tail}": (rows,), f"bias_hh_{tail}": (rows,)}
            if layers.projection:
                expected[f"weight_hr_{tail}"] = (layers.projection, layers.hidden)
    for name in sorted({*expected, *layers.weights}):
        if name not in layers.weights:
            raise ValueError(f"expected `{name}` in the state dict of an nn.{layers.kind}")
        if name not in expected:
            raise ValueError(f"{name}: no tensor of an nn.{layers.kind} of {layers.layers} layers")
        if expected[name] != (got := tuple(layers.weights[name].shape)):
            raise ValueError(f"{name}: expected {expected[name]}, got {got}")


_OPERATORS: Final = {"RNN": ("plain", "deep"), "LSTM": ("lstm", "gated"), "GRU": ("gru", "gated")}
_PROJECTED_LSTM: Final = """\
# Sak et al. 2014, as torch.nn.LSTM(proj_size=…) has it.
operator lstm_projected(x, (h, c)):
    i = σ(Wi x + Ui h + bi)
    f = σ(Wf x + Uf h + bf)
    g = tanh(Wg x + Ug h + bg)
    o = σ(Wo x + Uo h + bo)
    d = f ⊙ c + i ⊙ g
    (P (o ⊙ tanh(d)), d)
"""


def layers_to_spec(layers: TorchLayers, readout: int | None) -> str:
    """Write the layers as a spec; `y` is the top h, or `▷` of it, `readout` wide."""
    bidirectional, name = layers.bidirectional, layers.kind.lower()
    operator, library = _OPERATORS[layers.kind]
    head = f"use {operator} from {library}\n"
    if layers.projection:
        operator, head = "lstm_projected", _PROJECTED_LSTM
    elif layers.kind == "RNN":
        operator = f"plain(act = {layers.activation or 'tanh'})"
    pairs = [("h", "c"), ("g", "d")] if layers.kind == "LSTM" else [("h",), ("g",)]
    pairs = pairs if bidirectional else pairs[:1]
    dropout = layers.dropout if layers.layers > 1 else 0.0
    sizes = f"inputs = {layers.inputs}, hidden = {layers.hidden}, layers = {layers.layers}"
    wide = f"{layers.projection}" if layers.projection else "hidden"
    lines = [
        f"model {name}({sizes}{f', drop = {dropout!r}' if dropout else ''}):",
        "input x: real[inputs]",
        f"output y: real[{readout or (f'2 * {wide}' if bidirectional else wide)}]",
        "z_0 = x",
        "for l in 1..layers:",
        f"    operator {'⊕_l, ⊗_l' if bidirectional else '⊕_l'} = {operator}",
    ]
    for symbol, parts in zip("⊕⊗", pairs, strict=False):
        lines += [
            f"    state {part}_l: real[{'hidden' if index else wide}]"
            for index, part in enumerate(parts)
        ]
        after = ", ".join(f"{part}_l'" for part in parts)
        before = ", ".join(f"{part}_l{'[t+1]' if symbol == '⊗' else ''}" for part in parts)
        if len(parts) > 1:
            after, before = f"({after})", f"({before})"
        lines.append(f"    {after} = z_{{l-1}} {symbol}_l {before}")
    top = "[h_l' ; g_l']" if bidirectional else "h_l'"
    if dropout:
        lines += ["    if l < layers:", f"        z_l = dropout(drop, {top})", "    else:"]
        lines += [f"        z_l = {top}"]
    else:
        lines.append(f"    z_l = {top}")
    lines.append(f"y = {'▷ ' if readout else ''}z_{{layers}}")
    return "\n".join([head, lines[0], *(f"    {line}" for line in lines[1:]), ""])
