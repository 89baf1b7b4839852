"""Compare RNN, LSTM and GRU specs with torch's: values, final states and all gradients."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import rnnc
from rnnc.compiler.module.compiled_rnn import CompiledRNN
from rnnc.operators.semantics import interpreter
from support.comparison.assertions import assert_close, parameter_gradients, weighted_sum
from support.comparison.random_arguments import randomize_parameters

TOLERANCE = 1e-10

OPERATORS = {
    "rnn": "operator x ⊕ h = tanh(W h + U x + b + bh)\n",
    "lstm": """
operator x ⊕ (h, c):
    i = σ(Ui x + Wi h + bi + b_hi)
    f = σ(Uf x + Wf h + bf + b_hf)
    g = tanh(Ug x + Wg h + bg + b_hg)
    o = σ(Uo x + Wo h + bo + b_ho)
    d = f ⊙ c + i ⊙ g
    (o ⊙ tanh(d), d)
""",
    "gru": """
operator x ⊕ h:
    r = σ(Ur x + Wr h + br + b_hr)
    z = σ(Uz x + Wz h + bz + b_hz)
    n = tanh(Un x + bn + r ⊙ (Wn h + b_hn))
    (1 - z) ⊙ n + z ⊙ h
""",
}
GATES = {"rnn": [""], "lstm": ["i", "f", "g", "o"], "gru": ["r", "z", "n"]}
TORCH = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}


def compiled(text: str) -> CompiledRNN:
    return rnnc.compile(text, backend="reference").double()


def spec(cell: str, inputs: int, hidden: int) -> str:
    states = "h, c" if cell == "lstm" else "h"
    left = "(h', c')" if cell == "lstm" else "h'"
    state = "(h, c)" if cell == "lstm" else "h"
    return (
        f"{OPERATORS[cell]}input x: real[{inputs}]\nstate {states}: real[{hidden}]\n"
        f"output y: real[{hidden}]\n{left} = x ⊕ {state}\ny = h'\n"
    )


def bidirectional(inputs: int, hidden: int) -> str:
    return f"""{OPERATORS["gru"].replace("⊕", "cell(x, h)").replace("x cell(x, h) h", "cell(x, h)")}
operator ⊕₁, ⊕₂ = cell
input x: real[{inputs}]
state h, g: real[{hidden}]
output y: real[{2 * hidden}]
h' = x ⊕₁ h
g[t] = x ⊕₂ g[t+1]
y = [h' ; g']
"""


def copied(model: CompiledRNN, cell: str, prefix: str = "plus", suffix: str = "") -> dict[str, Any]:
    """What torch's parameters of a cell are, made of the spec's."""
    parameters = dict(model.named_parameters())
    second = "h" if cell == "rnn" else "_h"
    names = {
        "weight_ih_l0": [f"{prefix}.U{gate}" for gate in GATES[cell]],
        "weight_hh_l0": [f"{prefix}.W{gate}" for gate in GATES[cell]],
        "bias_ih_l0": [f"{prefix}.b{gate}" for gate in GATES[cell]],
        "bias_hh_l0": [f"{prefix}.b{second}{gate}" for gate in GATES[cell]],
    }
    return {
        name + suffix: torch.cat([parameters[part].detach() for part in parts])
        for name, parts in names.items()
    }


def gathered(model: CompiledRNN, cell: str, prefix: str = "plus", suffix: str = "") -> Any:
    """The spec's gradients, as torch lays them out."""
    gradients = parameter_gradients(model)
    values = copied(model, cell, prefix, suffix)
    parameters = dict(model.named_parameters())
    for name in values:
        parts = [k for k in parameters if k.startswith(prefix + ".")]
        kind = {"weight_ih_l0": "U", "weight_hh_l0": "W"}.get(name.removesuffix(suffix))
        second = "h" if cell == "rnn" else "_h"
        names = [
            f"{prefix}.{kind or 'b'}{second if 'bias_hh' in name else ''}{gate}"
            for gate in GATES[cell]
        ]
        assert set(names) <= set(parts)
        values[name] = torch.cat([gradients[part] for part in names])
    return values


def draw(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64, requires_grad=True)


def compare(
    cell: str, steps: int, rows: int, inputs: int, hidden: int, lengths: Tensor | None
) -> None:
    model = randomize_parameters(compiled(spec(cell, inputs, hidden)), 1)
    module = TORCH[cell](inputs, hidden).double()
    module.load_state_dict(copied(model, cell))
    parts = 2 if cell == "lstm" else 1
    x, x_ = (draw(steps, rows, inputs, seed=2) for _ in range(2))
    first = [draw(rows, hidden, seed=3 + i) for i in range(parts)]
    first_ = [draw(1, rows, hidden, seed=3 + i) for i in range(parts)]

    y, state = model(x, tuple(first), lengths=lengths)
    packed = x_ if lengths is None else pack_padded_sequence(x_, lengths, enforce_sorted=False)
    y_, state_ = module(packed, tuple(first_) if cell == "lstm" else first_[0])
    if lengths is not None:
        y_, _ = pad_packed_sequence(y_, total_length=steps)
    state_ = tuple(s[0] for s in (state_ if cell == "lstm" else (state_,)))

    assert_close(y, y_, TOLERANCE, "y")
    assert_close(tuple(state), state_, TOLERANCE, "state")
    weighted_sum((y, tuple(state))).backward()
    weighted_sum((y_, state_)).backward()
    assert_close(x.grad, x_.grad, TOLERANCE, "x.grad")
    assert_close([f.grad for f in first], [f.grad[0] for f in first_], TOLERANCE, "state.grad")
    assert_close(gathered(model, cell), parameter_gradients(module), TOLERANCE, "weights")


SIZES = [(7, 3, 5, 4), (1, 2, 3, 2), (5, 1, 1, 3), (1, 1, 1, 1), (13, 5, 2, 7)]


@pytest.mark.parametrize("sizes", SIZES, ids=lambda s: "T{}B{}in{}H{}".format(*s))
@pytest.mark.parametrize("cell", TORCH)
def test_a_cell_is_torchs(cell: str, sizes: tuple[int, int, int, int]) -> None:
    compare(cell, *sizes, lengths=None)


@pytest.mark.parametrize("cell", TORCH)
def test_ragged_batches_are_packed_sequences(cell: str) -> None:
    compare(cell, 9, 5, 3, 4, lengths=torch.tensor([4, 9, 1, 6, 9]))
    compare(cell, 1, 2, 3, 4, lengths=torch.tensor([1, 1]))


@pytest.mark.parametrize("ragged", [False, True])
def test_bidirectional(ragged: bool) -> None:
    steps, rows = 7, 4
    lengths = torch.tensor([7, 3, 1, 5]) if ragged else None
    model = randomize_parameters(compiled(bidirectional(3, 2)), 5)
    module = nn.GRU(3, 2, bidirectional=True).double()
    module.load_state_dict(
        copied(model, "gru", "plus_1") | copied(model, "gru", "plus_2", "_reverse")
    )
    x, x_ = (draw(steps, rows, 3, seed=2) for _ in range(2))
    y, state = model(x, lengths=lengths)
    assert state is None
    packed = x_ if lengths is None else pack_padded_sequence(x_, lengths, enforce_sorted=False)
    y_, _ = module(packed)
    if lengths is not None:
        y_, _ = pad_packed_sequence(y_, total_length=steps)
    assert_close(y, y_, TOLERANCE, "y")
    weighted_sum(y).backward()
    weighted_sum(y_).backward()
    assert_close(x.grad, x_.grad, TOLERANCE)
    actual = gathered(model, "gru", "plus_1") | gathered(model, "gru", "plus_2", "_reverse")
    assert_close(actual, parameter_gradients(module), TOLERANCE)


def test_two_layers_are_torchs() -> None:
    text = """
input x: real[3]
state h_1, h_2: real[4]
output y: real[4]
h_1' = tanh(W1 h_1 + U1 x + b1 + b_h1)
h_2' = tanh(W2 h_2 + U2 h_1' + b2 + b_h2)
y = h_2'
"""
    model = randomize_parameters(compiled(text), 3)
    module = nn.RNN(3, 4, 2).double()
    state_dict = model.state_dict()
    module.load_state_dict(
        {
            f"{kind}_l{layer - 1}": state_dict[f"{letter}{layer}"]
            for layer in (1, 2)
            for kind, letter in [
                ("weight_hh", "W"), ("weight_ih", "U"), ("bias_ih", "b"), ("bias_hh", "b_h"),
            ]
        }
    )  # fmt: skip
    x = draw(6, 2, 3)
    (y, state), (y_, state_) = model(x), module(x)
    assert_close(y, y_, TOLERANCE)
    assert_close(torch.stack(list(state)), state_, TOLERANCE)


@pytest.mark.parametrize(
    ("operation", "wrong"),
    [
        ("tanh", lambda z: torch.tanh(z) + 1e-9),
        ("sigmoid", lambda z: torch.sigmoid(z * (1 + 1e-9))),
    ],
)
def test_a_planted_fault_is_caught(
    operation: str, wrong: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(interpreter.UNARY_OPS, operation, wrong)
    with pytest.raises(AssertionError):
        compare("lstm", *SIZES[0], lengths=None)


def test_a_wrong_gradient_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    class Off(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, z: Tensor) -> Tensor:
            return torch.tanh(z)

        @staticmethod
        def backward(ctx: Any, *g: Tensor) -> Tensor:
            return g[0]

    monkeypatch.setitem(interpreter.UNARY_OPS, "tanh", Off.apply)
    with pytest.raises(AssertionError, match="grad"):
        compare("gru", *SIZES[0], lengths=None)
