"""Torch's modules as zoo models, and back: the same values, and the same weights again."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import rnnc
from rnnc.compiler.torch_weights import from_torch, load_torch, to_torch

KINDS = [nn.RNN, nn.LSTM, nn.GRU]


def torch_module(kind: type, layers: int, both: bool, **arguments: object) -> nn.RNNBase:
    torch.manual_seed(0)
    return kind(5, 7, layers, bidirectional=both, dtype=torch.float64, **arguments)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("batch_first", [False, True])
def test_a_module_becomes_a_zoo_model_and_comes_back(kind, layers, both, batch_first):
    module = torch_module(kind, layers, both, batch_first=batch_first)
    model = from_torch(module, **({"classes": 3} if both else {}))
    x = torch.randn(6, 4, 5, dtype=torch.float64)
    expected, last = module(x)
    weight, bias = model.get_parameter("predict.V"), model.get_parameter("predict.b")
    y, state = model(x)
    torch.testing.assert_close(y, expected @ weight.t() + bias, rtol=1e-12, atol=1e-12)
    if not both:
        h = last[0] if kind is nn.LSTM else last
        for layer in range(layers):
            found = getattr(state, f"h_{layer + 1}")
            torch.testing.assert_close(found, h[layer], rtol=1e-12, atol=1e-12)
    again = to_torch(model)
    assert type(again) is kind
    torch.testing.assert_close(again(x)[0], expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_weights_come_back_bit_for_bit(kind):
    model = from_torch(torch_module(kind, 2, False))
    other = rnnc.compile(
        f"zoo:{'srnn' if kind is nn.RNN else kind.__name__.lower()}", layers=2, hidden=7, notes=5
    ).double()
    load_torch(other, to_torch(model))
    for key, value in model.named_parameters():
        if not key.startswith("predict"):
            assert torch.equal(value, other.get_parameter(key)), key


def test_one_operator_of_a_spec_and_relu():
    text = (
        "use plain from deep\ninput x: real[5]\nstate h: real[7]\noutput y: real[7]\n"
        "operator ⊕ = plain(act = {})\nh' = x ⊕ h\ny = h'\n"
    )
    module = torch_module(nn.RNN, 1, False, nonlinearity="relu")
    model = rnnc.compile(text.format("relu")).double()
    load_torch(model, module)
    x = torch.randn(6, 4, 5, dtype=torch.float64)
    torch.testing.assert_close(model(x)[0], module(x)[0])
    assert to_torch(model).mode == "RNN_RELU"
    with pytest.raises(ValueError, match="relu"):
        load_torch(rnnc.compile(text.format("tanh")), module)
    with pytest.raises(ValueError, match="tanh or relu"):
        to_torch(rnnc.compile(text.format("sigmoid")))
    with pytest.raises(ValueError, match="no model of the zoo"):
        from_torch(module)


def test_a_module_without_biases():
    module = torch_module(nn.GRU, 1, False, bias=False)
    model = from_torch(module)
    assert not model.get_parameter("plus_1.bm").any()
    x = torch.randn(3, 2, 5, dtype=torch.float64)
    torch.testing.assert_close(model(x)[1].h_1, module(x)[1][0])


def test_what_does_not_fit():
    lstm = torch_module(nn.LSTM, 2, False)
    for name, arguments, message in [
        ("gru", {"layers": 2, "hidden": 7, "notes": 5}, "operators of an nn.LSTM"),
        ("lstm", {"layers": 1, "hidden": 7, "notes": 5}, "layers and directions"),
        ("lstm", {"layers": 2, "hidden": 8, "notes": 5}, "expected"),
        ("lstm", {"layers": 2, "hidden": 7, "notes": 6}, "expected"),
    ]:
        model = rnnc.compile(f"zoo:{name}", parameters=arguments)
        before = {k: v.clone() for k, v in model.state_dict().items()}
        with pytest.raises(ValueError, match=message):
            load_torch(model, lstm)
        assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    with pytest.raises(ValueError, match="projection"):
        from_torch(torch_module(nn.LSTM, 1, False, proj_size=3))
    with pytest.raises(ValueError, match="got Linear"):
        from_torch(nn.Linear(2, 2))
    before = rnnc.compile("zoo:gru", hidden=4, before=1)
    with pytest.raises(ValueError, match="expected a model whose operators"):
        to_torch(before)
