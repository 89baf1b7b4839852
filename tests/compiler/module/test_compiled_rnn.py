# ruff: noqa: E501
"""Check that a compiled model behaves as a torch.nn.Module, with the names of its spec."""

from __future__ import annotations

import copy
import io
import pickle  # noqa: TID251
import threading
import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, jacrev, vmap

import rnnc
from rnnc.compiler.module.compiled_rnn import CompiledRNN
from rnnc.compiler.module.namedtuples import field_name
from support.comparison.assertions import assert_close, parameter_gradients, weighted_sum
from support.comparison.random_arguments import feed, random_inputs, randomize_parameters
from support.generator import random_spec

SEEDS = range(0, 40, 3)


def compiled(seed: int, **settings: Any) -> CompiledRNN:
    spec = random_spec(seed)
    model = rnnc.compile(spec.text, parameters=spec.sizes, **settings).double()
    return randomize_parameters(model, seed).eval()


NAMES = """
operator mlp(z) = tanh(W z + b)
operator step(x, h) = tanh(train x + U h + mlp(h))
operator x ⊕ h = tanh(W h + U x + b)
operator x ⊕₁ h = tanh(W h + U x + mlp(h))
operator x ⊗₂ h = tanh(half x + W h)
input x: real[3]
state h: real[4] = learned
state g, k, forward: real[4]
param V: real[3, 4]
param half: diagonal
h' = x ⊕ h
g' = h' ⊕₁ g
k' = g' ⊗₂ k
forward' = step(k', forward)
x' = ▷ (forward' + half h')
"""


def test_a_state_dict_reads_like_the_spec() -> None:
    text = NAMES.replace("train x", "T x").replace("half x + W h", "U x + W h")
    model = rnnc.compile(text)
    assert {name: tuple(value.shape) for name, value in model.state_dict().items()} == {
        "plus.W": (4, 4), "plus.U": (4, 3), "plus.b": (4,),
        "plus_1.W": (4, 4), "plus_1.mlp.W": (4, 4), "plus_1.mlp.b": (4,), "plus_1.U": (4, 4),
        "times_2.U": (4, 4), "times_2.W": (4, 4),
        "step.T": (4, 4), "step.U": (4, 4), "step.mlp.W": (4, 4), "step.mlp.b": (4,),
        "half": (4,),
        "predict.V": (3, 4), "predict.b": (3,),
        "init.h": (4,),
    }  # fmt: skip
    assert list(dict(model.named_parameters())) == list(model.state_dict())
    y, state = model(torch.randn(5, 2, 3))
    assert state._fields == ("h", "g", "k", "forward")
    assert model.train() is model
    assert model.half().state_dict()["half"].dtype == torch.float16
    y, _ = model.float().step(torch.randn(2, 3))
    assert y.shape == (2, 3)


@pytest.mark.parametrize(
    "word",
    [
        "step",
        "half",
        "train",
        "forward",
        "parameters",
        "zero_grad",
        "T",
        "training",
        "register_buffer",
        "state_dict",
    ],
)
def test_any_name_goes_for_an_operator_and_a_parameter(word: str) -> None:
    text = f"""
operator {word}(x, h):
    param {word}: real[2, 2]
    tanh({word} h + U x)
input x: real[3]
state h: real[2]
h' = {word}(x, h)
x' = ▷ h'
"""
    model = rnnc.compile(text).double()
    assert f"{word}.{word}" in model.state_dict()
    twin = copy.deepcopy(model)
    x = torch.randn(4, 2, 3, dtype=torch.float64)
    assert_close(twin(x)[0], model(x)[0], 0.0)
    weighted_sum(model.train()(x)[0]).backward()
    assert parameter_gradients(model)[f"{word}.{word}"].any()
    model.load_state_dict(twin.state_dict())
    model.zero_grad()
    assert len(list(model.parameters())) == len(model.state_dict())


@pytest.mark.parametrize(
    "name", ["class", "class_", "lambda", "count", "index", "ﬁ", "µ", "½a", "a½"]
)
def test_any_name_goes_for_a_state(name: str) -> None:
    text = f"input x: real[3]\nstate {name}, k: real[2]\n{name}' = x ⊕ {name}\nk' = k\nx' = ▷ {name}'\n"
    try:
        model = rnnc.compile(text)
    except rnnc.RnnError:
        assert not name.isidentifier()
        return
    with torch.no_grad():
        _, state = model(torch.zeros(1, 1, 3))
    for twin in (copy.deepcopy(state), pickle.loads(pickle.dumps(state))):
        assert_close(twin, state, 0.0)
        assert type(twin) is type(state)
    assert getattr(state, field_name(name), state[0]) is state[0]


def test_states_whose_names_would_be_one_field() -> None:
    text = "input x: real[3]\nstate class, class_: real[2]\nclass' = x ⊕ class\nclass_' = class\nx' = ▷ class'\n"
    _, state = rnnc.compile(text)(torch.zeros(1, 1, 3))
    assert len(state) == 2
    greek = "input x: real[3]\nstate µ, μ: real[2]\nµ' = x ⊕ µ\nμ' = µ\nx' = ▷ µ'\n"
    _, state = rnnc.compile(greek)(torch.zeros(1, 1, 3))
    assert len(state) == 2


@pytest.mark.parametrize("seed", SEEDS)
def test_copies_are_equal_and_apart(seed: int) -> None:
    model = compiled(seed)
    arguments = feed(model, 4, 2, seed=seed, carry=True)
    stream = io.BytesIO()
    torch.save(model.state_dict(), stream)
    stream.seek(0)
    fresh = compiled(seed)
    fresh.load_state_dict(torch.load(stream, weights_only=True), strict=True)
    torch.manual_seed(0)
    y, after = arguments.call(model)
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model)), fresh):
        torch.manual_seed(0)
        y_, after_ = arguments.call(twin)
        assert_close(
            tuple(y_) if isinstance(y, tuple) else y_, tuple(y) if isinstance(y, tuple) else y, 0.0
        )
        assert_close(after_, after, 0.0)
        assert repr(twin) == repr(model)
        for copied, original in zip(twin.parameters(), model.parameters(), strict=True):
            assert copied is not original
            assert copied.requires_grad == original.requires_grad
            with torch.no_grad():
                copied.add_(1.0)
    torch.manual_seed(0)
    assert_close(arguments.call(model)[1], after, 0.0)


def test_dtypes_move() -> None:
    for seed in SEEDS:
        model = compiled(seed)
        twice = feed(model, 4, 2, seed=seed)
        torch.manual_seed(1)
        y, _ = twice.call(model)
        model.float()
        arguments = feed(model, 4, 2, seed=seed)
        torch.manual_seed(1)
        y_, after = arguments.call(model)
        for a, b in zip(several(y_), several(y), strict=True):
            assert a.dtype == torch.float32
            if not any(s.initial_value.kind == "uniform" for s in model.graph.states):
                # A norm of two nearly equal entries makes much of a rounding.
                assert_close(a.double(), b, 1e-3)
        model.to(torch.bfloat16)
        assert several(feed(model, 4, 2, seed=seed).call(model)[0])[0].dtype == torch.bfloat16
        for part in after or ():
            assert part.dtype in {torch.float32, torch.int64}


def several(y: Any) -> tuple[Tensor, ...]:
    return y if isinstance(y, tuple) else (y,)


RNN = "input x: real[3]\nstate h: real[2]\nh' = x ⊕ h\nx' = ▷ h'\n"


def test_torch_func_works() -> None:
    model = randomize_parameters(rnnc.compile(RNN, backend="reference").double(), 0)
    x = torch.randn(4, 2, 3, dtype=torch.float64)
    parameters = dict(model.named_parameters())

    def loss(values: dict[str, Tensor], x: Tensor) -> Tensor:
        return functional_call(model, values, (x,))[0].square().sum()

    actual = grad(loss)(parameters, x)
    loss(parameters, x).backward()
    assert_close(actual, parameter_gradients(model), 1e-12)
    assert jacrev(lambda x: functional_call(model, parameters, (x,))[0])(x).shape == (4, 2, 3) * 2
    row_gradients = vmap(lambda x: grad(loss)(parameters, x), in_dims=1)(x.unsqueeze(2))
    assert_close({k: v.sum(0) for k, v in row_gradients.items()}, actual, 1e-12)


def test_second_derivatives_are_right_on_the_reference() -> None:
    model = randomize_parameters(rnnc.compile(RNN, backend="reference").double(), 0)
    x = torch.randn(3, 1, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(lambda x: model(x)[0], (x,))


def test_it_is_a_part_of_larger_modules() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Linear(5, 3)
            self.core = rnnc.compile(RNN)

        def forward(self, x: Tensor) -> Tensor:
            return self.core(self.embed(x))[0]

    net = Net().double()
    assert "core.plus.W" in net.state_dict()
    net(torch.randn(4, 2, 5, dtype=torch.float64)).sum().backward()
    assert net.embed.weight.grad is not None
    assert "x ⊕ h" in repr(net)


def test_repr_shows_the_spec() -> None:
    text = repr(rnnc.compile(RNN))
    assert all(line in text for line in RNN.splitlines())
    assert "17 parameters" in text or "21 parameters" in text


def test_frozen_parameters_are_never_trained() -> None:
    model = rnnc.compile(
        f"param W, V: frozen\n{RNN.replace('x ⊕ h', 'tanh(W h + U x)')}".replace("▷ h'", "V h' + b")
    )
    assert {k for k, p in model.named_parameters() if not p.requires_grad} == {"W", "V"}
    before = {k: v.clone() for k, v in model.state_dict().items()}
    optimiser = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], 0.1)
    y, _ = model(torch.randn(4, 2, 3))
    y.square().sum().backward()
    optimiser.step()
    after = model.state_dict()
    assert {k for k in after if not torch.equal(after[k], before[k])} == {"U", "b"}


def test_several_threads() -> None:
    models = [compiled(seed) for seed in (1, 2)]
    givens = [feed(m, 6, 2, seed=3, carry=True) for m in models]
    with torch.no_grad():
        expected = [weighted_sum(g.call(m)) for g, m in zip(givens, models, strict=True)]
    failures: list[str] = []

    def work(index: int) -> None:
        with torch.no_grad():
            for _ in range(5):
                i = index % 2
                if not any(s.initial_value.kind == "uniform" for s in models[i].graph.states):
                    try:
                        assert_close(weighted_sum(givens[i].call(models[i])), expected[i], 1e-12)
                    except Exception as error:
                        failures.append(repr(error))

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_in_and_outputs_by_name() -> None:
    text = """
input a: real[2]
input s: symbol[4]
state h: real[3]
output y: real[2]
output z: binary[3] at end
h' = tanh(W h + A a + E s)
y = V h'
z = Q h'
"""
    model = rnnc.compile(text).double()
    x = random_inputs(model.graph, 5, 2)
    y, _ = model(x)
    assert y._fields == ("y", "z")
    assert (y.y.shape, y.z.shape) == ((5, 2, 2), (2, 3))
    assert_close(tuple(model((x["a"], x["s"]))[0]), tuple(y), 0.0)
    goal = {"y": torch.zeros(5, 2, 2), "z": torch.ones(2, 3)}
    assert_close(model.loss(y, goal), model.loss(y, (goal["y"], goal["z"])), 0.0)
    lengths = torch.tensor([2, 5])
    only = model.loss(model(x, lengths=lengths)[0], goal, lengths=lengths)
    assert only.isfinite()


def test_the_state_is_named_in_the_order_of_declarations() -> None:
    model = rnnc.compile(
        "input x: real\nstate b: real[2]\nstate a: real[3]\n"
        "a' = x ⊕ a[t-2]\nb' = a' ⊗ b\noperator x ⊗ h = tanh(U x + W h)\n"
        "x' = ▷ b' + V x[t-3]\n"
    )
    state = model.initial_state(4)
    assert state._fields == ("b", "a", "x")
    assert [tuple(v.shape) for v in state] == [(4, 2), (2, 4, 3), (3, 4, 1)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _, after = model(torch.zeros(1, 4, 1), state)
    assert after._fields == state._fields
