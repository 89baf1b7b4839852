"""Check that replayed calls give equal bits, and that every other call takes the normal path."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

import rnnc
from rnnc.compiler.backends.cpu.toolchain import build_library
from rnnc.compiler.module.compiled_rnn import CompiledRNN
from rnnc.compiler.module.parameters import Operators
from rnnc.operators.sources.zoo import zoo_names
from support.comparison import random_arguments
from support.comparison.assertions import assert_close
from support.comparison.shared_library import compile_in_one_library

GATED = """
model m(H = 19):
    input x: real[5]
    state h: real[H]
    state c: real[7] = 0.5
    operator x ⊕ h:
        z = σ(Z h + Y x + b_z)
        z ⊙ h + (1 - z) ⊙ tanh(W h + U x + b)
    h' = (x + x[t-2]) ⊕ h
    c' = tanh(C c + D h')
    output y: real[3]
    y = V h' + b_y
    output last: real[2] at end
    last = L c'
"""


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build_library, "FLAGS", (*build_library.FLAGS, "-O1"))


def made(**said: Any) -> CompiledRNN:
    torch.manual_seed(0)
    return rnnc.compile(GATED, backend="cpu", **said)


def flat(found: Any) -> list[Tensor]:
    y, state = found
    return [*(y if isinstance(y, tuple) else (y,)), *(() if state is None else state)]


def long_way(model: CompiledRNN, call: Callable[[CompiledRNN], Any]) -> list[Tensor]:
    """The same call on a copy that knows of no earlier one."""
    return flat(call(copy.deepcopy(model)))


def short_way(
    model: CompiledRNN, call: Callable[[CompiledRNN], Any], patch: pytest.MonkeyPatch
) -> list[Tensor]:
    """The call where the long way is barred."""
    with patch.context() as context:
        context.setattr(CompiledRNN, "_run_call", None)
        return flat(call(model))


def learn(model: CompiledRNN, call: Callable[[CompiledRNN], Any]) -> None:
    for _ in range(2):
        call(model)


X = torch.randn(6, 3, 5, generator=torch.Generator().manual_seed(1))


def step(model: CompiledRNN, x: Tensor = X[0]) -> Any:
    like = next(model.parameters())
    state = type(model.initial_state(3))(
        *(
            torch.linspace(-1, 1, part.numel(), dtype=like.dtype).view(part.shape)
            for part in model.initial_state(3)
        )
    )
    return model.step(x.to(like.dtype), state)


CALLS: dict[str, Callable[[CompiledRNN], Any]] = {
    "a step": step,
    "a first step": lambda model: model.step(X[0].to(next(model.parameters()).dtype)),
    "a series": lambda model: model(X.to(next(model.parameters()).dtype)),
    "a series from a state": lambda model: model(X, model.initial_state(3)),
}


@pytest.mark.parametrize("training", [False, True], ids=["evaluation", "training"])
@pytest.mark.parametrize("name", CALLS)
@torch.no_grad()
def test_both_ways_give_the_same_bits(
    name: str, training: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, call = made().train(training), CALLS[name]
    learn(model, call)
    actual = short_way(model, call, monkeypatch)
    assert_close(actual, long_way(model, call), 0.0)
    assert type(call(model)[1])._fields == ("h", "c", "x")


def _zoo(name: str, cells: set[str]) -> None:
    torch.manual_seed(0)
    model = random_arguments.randomize_parameters(
        rnnc.compile(f"zoo:{name}", backend="cpu"), 1
    ).eval()
    feed = random_arguments.feed(model, 4, 3, seed=2, carry=not model.runs_backward)
    x = {k: v.float() if v.is_floating_point() else v for k, v in feed.inputs.items()}
    state = feed.state
    if state is not None:
        state = type(state)(*(v.float() if v.is_floating_point() else v for v in state))
    inputs = tuple(x.values()) if len(x) > 1 else next(iter(x.values()))
    with torch.no_grad():
        expected = flat(model(inputs, state))
        for _ in range(3):
            assert_close(flat(model(inputs, state)), expected, 0.0, name)
        if any(type(known) is not bool for known in model._call_cache._entries.values()):
            cells.add(name)


@pytest.mark.parametrize("part", range(2))
def test_the_zoo_has_the_same_bits_both_ways(part: int, monkeypatch: pytest.MonkeyPatch) -> None:
    cells: set[str] = set()
    names = [n for n in zoo_names() if rnnc.compile(f"zoo:{n}").backend == "cpu"][part::2]
    for case in compile_in_one_library([partial(_zoo, name, cells) for name in names], monkeypatch):
        case()
    assert {"lstm", "gru", "rnn"} & set(names) <= cells
    assert len(cells) > len(names) / 2


def _in_place(model: CompiledRNN) -> None:
    for parameter in model.parameters():
        parameter.data.mul_(-0.5)


def _replaced(model: CompiledRNN) -> None:
    model._modules["plus"]._parameters["W"] = torch.nn.Parameter(torch.randn(19, 19))  # type: ignore[union-attr]


def _transposed(model: CompiledRNN) -> None:
    operator = model._modules["plus"]._parameters["W"]  # type: ignore[union-attr]
    operator.data = operator.data.t()  # type: ignore[union-attr]


def _loaded(model: CompiledRNN) -> None:
    state = {k: torch.randn_like(v) for k, v in model.state_dict().items()}
    model.load_state_dict(state, assign=True)


def _another_module(model: CompiledRNN) -> None:
    operators = Operators()
    for name, value in model._modules["plus"]._parameters.items():  # type: ignore[union-attr]
        operators._parameters[name] = torch.nn.Parameter(torch.randn_like(value))  # type: ignore[arg-type]
    model._modules["plus"] = operators


CHANGES = {
    "in place": _in_place,
    "replaced": _replaced,
    "transposed": _transposed,
    "loaded": _loaded,
    "another module": _another_module,
    "float64": lambda model: model.double(),
}


@pytest.mark.parametrize("change", CHANGES)
@torch.no_grad()
def test_changed_parameters_are_noticed(change: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = made().eval()
    for call in (CALLS["a step"], CALLS["a series"]):
        learn(model, call)
    CHANGES[change](model)
    for call in (CALLS["a step"], CALLS["a series"]):
        expected = long_way(model, call)
        for _ in range(3):
            assert_close(flat(call(model)), expected, 0.0)
    if change not in ("transposed", "another module"):
        assert_close(short_way(model, step, monkeypatch), long_way(model, step), 0.0)


WRONG: dict[str, Callable[[CompiledRNN], Any]] = {
    "a wide input": lambda model: model.step(torch.zeros(3, 6)),
    "an input of float64": lambda model: model.step(X[0].double()),
    "an axis of time": lambda model: model.step(X),
    "a sparse input": lambda model: model.step(X[0].to_sparse()),
    "a list": lambda model: model.step([X[0], X[0]]),
    "no tensor": lambda model: model.step(3),
    "a state of other rows": lambda model: model.step(X[0], model.initial_state(2)),
    "a state of two parts": lambda model: model.step(X[0], tuple(model.initial_state(3))[:2]),
    "a state of numbers": lambda model: model.step(X[0], (1, 2, 3)),
    "lengths": lambda model: model(X, lengths=[1, 2]),
}


@pytest.mark.parametrize("wrong", WRONG)
@torch.no_grad()
def test_wrong_arguments_give_the_same_error(wrong: str) -> None:
    model = made().eval()
    with pytest.raises(ValueError, match="expected") as first:
        WRONG[wrong](model)
    for call in CALLS.values():
        learn(model, call)
    with pytest.raises(ValueError, match="expected") as second_error:
        WRONG[wrong](model)
    assert str(second_error.value) == str(first.value)


@torch.no_grad()
def test_tensors_that_lie_otherwise_are_read_right() -> None:
    model = made().eval()
    for call in CALLS.values():
        learn(model, call)
    apart = X.transpose(0, 1).contiguous().transpose(0, 1)
    assert_close(flat(model(apart)), flat(model(X)), 0.0)
    state = [part.t().contiguous().t() if part.dim() == 2 else part for part in step(model)[1]]
    assert_close(flat(model.step(X[1], state)), flat(model.step(X[1], step(model)[1])), 0.0)


@torch.no_grad()
def test_what_is_given_and_found_stays_apart() -> None:
    model = made().eval()
    learn(model, step)
    first = flat(step(model))
    before = [part.clone() for part in first]
    for part in flat(step(model)):
        part.fill_(float("nan"))
    assert_close(first, before, 0.0)
    assert_close(flat(step(model)), before, 0.0)


def test_gradients_are_those_of_the_long_way() -> None:
    model = made().eval()
    with torch.no_grad():
        learn(model, step)
    y, _ = step(model)
    assert y.y.requires_grad
    with torch.no_grad():
        y, _ = step(model)
    assert not y.y.requires_grad


@torch.no_grad()
def test_hooks_are_called() -> None:
    model, cells = made().eval(), []
    learn(model, step)
    handle = model.register_forward_hook(lambda *_: cells.append("own"))
    step(model)
    handle.remove()
    handle = torch.nn.modules.module.register_module_forward_hook(lambda *_: cells.append("all"))
    step(model)
    handle.remove()
    step(model)
    assert cells == ["own", "all"]


@torch.no_grad()
def test_copies_learn_for_themselves() -> None:
    model = made().eval()
    learn(model, step)
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    for twin in (copy.deepcopy(model), torch.load(file, weights_only=False)):
        assert not twin._call_cache._entries
        _in_place(twin)
        learn(twin, step)
        assert_close(flat(step(twin)), long_way(twin, step), 0.0)
        assert not torch.equal(flat(step(twin))[0], flat(step(model))[0])


@torch.no_grad()
def test_threads_take_the_short_way_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model = made().eval()
    learn(model, step)
    xs = torch.randn(40, 3, 5)
    expected = [long_way(model, partial(step, x=x)) for x in xs]

    def run(x: Tensor) -> list[Tensor]:
        # In a thread of its own gradients are on.
        with torch.no_grad():
            return [part.clone() for _ in range(20) for part in flat(step(model, x))][-5:]

    monkeypatch.setattr(CompiledRNN, "_run_call", None)
    with ThreadPoolExecutor(8) as pool:
        assert_close(list(pool.map(run, xs)), expected, 0.0)


@torch.no_grad()
def test_many_shapes_are_not_all_kept() -> None:
    model = made().eval()
    for rows in [*range(1, 40)] * 2:
        model.step(torch.zeros(rows, 5))
    assert len(model._call_cache._entries) <= 16


DRAWN = """
input x: real[2]
state h: real[3] = uniform(-1, 1)
h' = tanh(W h + U x)
output y: real[3]
y = dropout(0.5, h')
"""


@torch.no_grad()
def test_what_draws_takes_the_long_way() -> None:
    for text in (DRAWN, DRAWN.replace(" = uniform(-1, 1)", "")):
        model = rnnc.compile(text, backend="cpu").train()
        x = torch.ones(1, 64, 2)
        actual = [model(x)[0] for _ in range(4)]
        assert not torch.equal(actual[2], actual[3])
