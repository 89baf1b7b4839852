"""Check conversion of torch modules to models and back: equal values, equal weights."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import rnnc
from rnnc.compiler.torch_interop.torch_weights import from_torch, load_torch, to_torch, torch_state

KINDS = [nn.RNN, nn.LSTM, nn.GRU]


def torch_module(kind: type, layers: int, both: bool, **arguments: object) -> nn.RNNBase:
    torch.manual_seed(0)
    return kind(5, 7, layers, bidirectional=both, dtype=torch.float64, **arguments)


def assert_same(model: rnnc.compiler.module.compiled_rnn.CompiledRNN, module: nn.RNNBase) -> None:
    """Outputs, gradients with respect to x, and, where there is one, the state."""
    x = torch.randn(6, 4, 5, dtype=torch.float64, requires_grad=True)
    expected, last = module(x)
    y, state = model(x)
    torch.testing.assert_close(y, expected, rtol=1e-12, atol=1e-12)
    actual, expected_gradient = (torch.autograd.grad(z.square().sum(), x)[0] for z in (y, expected))
    torch.testing.assert_close(actual, expected_gradient, rtol=1e-11, atol=1e-11)
    if module.bidirectional:
        assert state is None
        with pytest.raises(ValueError, match="runs forward alone"):
            torch_state(model, state)
    else:
        torch.testing.assert_close(torch_state(model, state), last, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("batch_first", [False, True])
def test_a_model_gives_what_its_module_gives_and_comes_back(kind, layers, both, batch_first):
    module = torch_module(kind, layers, both, batch_first=batch_first)
    model = from_torch(module, backend="aten")
    assert_same(model, module)
    module_back = to_torch(model)
    assert type(module_back) is kind
    assert module_back.batch_first is batch_first
    assert_same(model, module_back)


@pytest.mark.parametrize(
    ("kind", "arguments"),
    [
        (nn.RNN, {"nonlinearity": "relu"}),
        (nn.RNN, {"nonlinearity": "relu", "bias": False}),
        (nn.LSTM, {"proj_size": 3}),
        (nn.LSTM, {"proj_size": 7 - 1, "bias": False, "batch_first": True}),
        (nn.GRU, {"bias": False}),
    ],
)
@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("layers", [1, 2])
def test_every_argument_of_a_module(kind, arguments, both, layers):
    module = torch_module(kind, layers, both, **arguments)
    model = from_torch(module, backend="aten")
    assert_same(model, module)
    module_back = to_torch(model)
    assert getattr(module_back, "proj_size", 0) == arguments.get("proj_size", 0)
    assert module_back.mode == module.mode
    assert_same(model, module_back)


def test_dropout_lies_between_the_layers():
    module = torch_module(nn.LSTM, 2, False, dropout=0.5)
    model = from_torch(module, backend="aten")
    assert model.training
    assert to_torch(model).dropout == 0.5
    module.eval()
    assert_same(model.eval(), module)
    assert not from_torch(module).training
    # What the upper layer reads is dropped; what it gives, and the lower one's state, is not.
    x = torch.randn(200, 3, 5, dtype=torch.float64)
    undropped, (h, _) = module(x)
    y, state = model.train()(x)
    assert not torch.allclose(y, undropped)
    assert y.ne(0).all()
    torch.testing.assert_close(torch_state(model, state)[0][0], h[0], rtol=1e-12, atol=1e-12)
    with pytest.warns(UserWarning, match="num_layers greater than 1"):
        lone = torch_module(nn.LSTM, 1, False, dropout=0.5)
    assert_same(from_torch(lone), lone)


def test_a_readout_is_asked_for():
    module = torch_module(nn.GRU, 2, True)
    model = from_torch(module, readout=3)
    weight, bias = model.get_parameter("predict.V"), model.get_parameter("predict.b")
    x = torch.randn(6, 4, 5, dtype=torch.float64)
    torch.testing.assert_close(
        model(x)[0], module(x)[0] @ weight.t() + bias, rtol=1e-12, atol=1e-12
    )
    for wrong in (0, True, 2.5, "3"):
        with pytest.raises(ValueError, match="readout: expected an integer"):
            from_torch(module, readout=wrong)
    with pytest.raises(ValueError, match="write readout=3"):
        from_torch(module, classes=3)


def test_dtype_frozen_weights_and_parametrised_ones():
    module = torch_module(nn.LSTM, 1, False).float().requires_grad_(False)
    model = from_torch(module, readout=2)
    learned = {name for name, p in model.named_parameters() if p.requires_grad}
    assert learned == {"predict.V", "predict.b"}
    assert model.get_parameter("plus_1.Wi").dtype == torch.float32
    module = torch_module(nn.GRU, 1, False)
    torch.nn.utils.parametrizations.weight_norm(module, "weight_hh_l0")
    assert_same(from_torch(module), module)


@pytest.mark.parametrize("kind", KINDS)
def test_weights_come_back_bit_for_bit(kind):
    model = from_torch(torch_module(kind, 2, False))
    second = rnnc.compile(
        f"zoo:{'srnn' if kind is nn.RNN else kind.__name__.lower()}", layers=2, hidden=7, notes=5
    ).double()
    load_torch(second, to_torch(model))
    for key, value in model.named_parameters():
        assert torch.equal(value, second.get_parameter(key)), key


@pytest.mark.parametrize("prefix", ["", "encoder.rnn."])
@pytest.mark.parametrize(
    ("kind", "arguments"),
    [(nn.RNN, {}), (nn.LSTM, {"proj_size": 3}), (nn.LSTM, {"bias": False}), (nn.GRU, {})],
)
def test_a_state_dict_is_loaded(kind, arguments, prefix):
    module = torch_module(kind, 2, True, **arguments)
    model = from_torch(torch_module(kind, 2, True, **arguments), backend="aten")
    state = {f"{prefix}{key}": value * 0.5 for key, value in module.state_dict().items()}
    module.load_state_dict({key: value * 0.5 for key, value in module.state_dict().items()})
    other_weights = (
        {"head.weight": torch.zeros(2, 3), "head.bias": torch.zeros(2)} if prefix else {}
    )
    load_torch(model, {**state, **other_weights})
    assert_same(model, module)


def test_a_state_dict_that_is_none():
    module = torch_module(nn.LSTM, 2, False, proj_size=3)
    model = from_torch(module, backend="aten")
    state_dict = dict(module.state_dict())
    for broken, message in [
        ({}, "got none"),
        ({f"{p}{k}": v for p in ("a.", "b.") for k, v in state_dict.items()}, "`a.`, `b.`"),
        ({k: v for k, v in state_dict.items() if k != "bias_hh_l1"}, "bias_hh_l1"),
        ({k: v for k, v in state_dict.items() if k != "weight_hh_l0"}, "weight_hh_l0"),
        ({**state_dict, "weight_ih_l3": state_dict["weight_ih_l1"]}, "weight_ih_l3"),
        ({**state_dict, "weight_hr_l1": state_dict["weight_hr_l1"].t()}, "weight_hr_l1: expected"),
        (
            {**state_dict, "weight_ih_l0": state_dict["weight_ih_l0"][1:]},
            "1, 3 or 4 times 7 rows, got 27",
        ),
        ({**state_dict, "bias_ih_l0": state_dict["weight_ih_l0"]}, "expected matrices"),
    ]:
        with pytest.raises(ValueError, match=message):
            load_torch(model, broken)
    with pytest.raises(ValueError, match="load_torch"):
        from_torch(state_dict)


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
    with pytest.raises(ValueError, match="projected, got none"):
        load_torch(from_torch(lstm), torch_module(nn.LSTM, 2, False, proj_size=3))
    with pytest.raises(ValueError, match="got LSTMCell"):
        from_torch(nn.LSTMCell(5, 7))
    with pytest.raises(ValueError, match="got Linear"):
        from_torch(nn.Linear(2, 2))

    class Halved(nn.LSTM):
        def forward(self, x, state=None):
            return super().forward(x / 2, state)

    with pytest.raises(ValueError, match="Halved has another one"):
        from_torch(Halved(5, 7))
    with pytest.raises(ValueError, match="a state of 4 parts"):
        torch_state(from_torch(lstm), (torch.zeros(1),))
    before = rnnc.compile("zoo:gru", hidden=4, before=1)
    with pytest.raises(ValueError, match="expected a model whose operators"):
        torch_state(before, None)
    with pytest.raises(ValueError, match="expected a model whose operators"):
        to_torch(before)
