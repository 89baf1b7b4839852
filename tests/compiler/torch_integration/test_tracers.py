"""Check that each tracer sees one operator, or the operations of the reference."""

from __future__ import annotations

import io
import sys
import types
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils.flop_counter import FlopCounterMode

import rnnc
from rnnc.compiler.module.compiled_rnn import CompiledRNN
from support.comparison.assertions import assert_close
from support.comparison.available_backends import AVAILABLE_BACKENDS

TEXT = """
input x: real[3]
state h: real[4] = learned
state c: real[4]
output y: real[2]
h' = tanh(W h + U x + b)
c' = 0.5 * c + h' + Q x[t-2]
y = V [h' ; c'] + b2
"""
SYMBOLS = """
input s: symbol[5]
state h: real[3]
output y: real[2]
h' = tanh(W h + U s + E s[t-1])
y = V h'
"""
TOLERANCE = 1e-6

pytestmark = [
    pytest.mark.parametrize("backend", AVAILABLE_BACKENDS),
    # A trace says of every size that it compares that this may not hold for others.
    pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


class Outputs(nn.Module):
    def __init__(self, net: CompiledRNN) -> None:
        super().__init__()
        self.core = net

    def forward(self, x: Tensor) -> Any:
        return self.core(x)[0]


def model(backend: str, text: str = TEXT) -> CompiledRNN:
    torch.manual_seed(0)
    return rnnc.compile(text, backend=backend).requires_grad_(True)


def feed(steps: int = 5, rows: int = 2, seed: int = 1) -> Tensor:
    return torch.randn(steps, rows, 3, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("way", ["gradients", "no_grad", "frozen", "inference"])
def test_torch_jit_trace(backend: str, way: str) -> None:
    net, x = model(backend), feed()
    if way == "frozen":
        net.requires_grad_(False)
    if way == "inference":
        net.eval()
    with torch.set_grad_enabled(way != "no_grad"):
        traced = torch.jit.trace(Outputs(net), x)
    file = io.BytesIO()
    torch.jit.save(traced, file)
    file.seek(0)
    second = feed(seed=2)
    for run in (traced, torch.jit.load(file)):
        for sample in (x, second):
            assert_close(run(sample), net(sample)[0], TOLERANCE)
        if way == "gradients":
            sources = list(run.parameters())
            actual = torch.autograd.grad(run(second).square().sum(), sources)
            expected = torch.autograd.grad(net(second)[0].square().sum(), list(net.parameters()))
            named = dict(zip((n for n, _ in net.named_parameters()), expected, strict=True))
            names = [n.removeprefix("core.") for n, _ in run.named_parameters()]
            assert_close(list(actual), [named[n] for n in names], 1e-5)


def test_a_trace_takes_other_sizes_or_says_that_it_does_not(backend: str) -> None:
    traced, x = torch.jit.trace(Outputs(net := model(backend)), feed()), feed(7, 3)
    if backend == "reference":
        with pytest.raises(RuntimeError, match="7"):
            traced(x)
    else:
        assert_close(traced(x), net(x)[0], TOLERANCE)


def test_what_a_trace_has_kept_must_fit(backend: str) -> None:
    if backend == "reference":
        pytest.skip("it unrolls the steps")
    net = model(backend)

    class Ragged(nn.Module):
        def forward(self, x: Tensor) -> Any:
            return net(x, lengths=torch.tensor([5, 3]))[0]

    net.requires_grad_(False)
    traced = torch.jit.trace(Ragged(), feed())
    assert_close(traced(feed(6)), net(feed(6), lengths=[5, 3])[0], TOLERANCE)
    with pytest.raises(Exception, match=r"lengths: expected \(3,\), got \(2,\)"):
        traced(feed(5, 3))
    with pytest.raises(Exception, match="lengths: expected values from 0 to 4, got 5"):
        traced(feed(4))


@pytest.mark.parametrize("mode", ["real", "fake", "symbolic", "before dispatch"])
@pytest.mark.parametrize("learning", [True, False])
def test_make_fx(backend: str, mode: str, learning: bool) -> None:
    net, x = model(backend), feed()
    early = mode == "before dispatch"
    traced = make_fx(
        lambda x: net(x),
        tracing_mode="real" if early else mode,
        pre_dispatch=early,
        _allow_non_fake_inputs=True,
    )
    with torch.set_grad_enabled(learning):
        for _ in range(3):
            net(x)
        graph = traced(x)
        for sample in (x, feed(seed=2)):
            y, state = graph(sample)
            expected, after = net(sample)
            assert_close([y, *state], [expected, *after], TOLERANCE)


def test_make_fx_of_gradients(backend: str) -> None:
    net, x = model(backend), feed().requires_grad_()

    def whole(x: Tensor) -> Tensor:
        return torch.autograd.grad(net(x)[0].square().sum(), x)[0]

    second = feed(seed=2).requires_grad_()
    assert_close(make_fx(whole)(x)(second), whole(second), TOLERANCE)
    y, _ = net(x)

    def back(gradient: Tensor) -> Tensor:
        return torch.autograd.grad(y, x, gradient, retain_graph=True)[0]

    graph, gradient = make_fx(back)(torch.ones_like(y)), torch.randn_like(y)
    assert_close(graph(gradient), back(gradient), 1e-5)


def test_onnx_sees_operations_of_torch(backend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # All that the exporter asks of that library is whether the graph has functions of its own.
    graph = types.SimpleNamespace(graph=types.SimpleNamespace(node=()))
    stub = types.SimpleNamespace(load_model_from_string=lambda _: graph)
    monkeypatch.setitem(sys.modules, "onnx", stub)
    for net in (model(backend), model(backend).requires_grad_(False)):
        file = io.BytesIO()
        torch.onnx.export(Outputs(net), (feed(),), file, dynamo=False)
        text = file.getvalue()
        assert text.count(b"Tanh") >= 5
        assert b"rnnc" not in text.replace(b"rnnc/", b"").replace(b"rnnc.", b"")


def both(call: Callable[[], Any], mode: Callable[[], Any]) -> tuple[Any, Any]:
    with mode():
        result = call()
    return result, call()


def test_modes_of_dispatch(backend: str) -> None:
    net, x = model(backend), feed()
    names = [name for name, _ in net.named_parameters()]

    def learn() -> list[Tensor]:
        y, state = net(x)
        return [y, *state, *torch.autograd.grad(y.square().sum(), [*net.parameters()])]

    def twice() -> list[Tensor]:
        y, _ = net(x)
        first = torch.autograd.grad(y.square().sum(), [*net.parameters()], create_graph=True)
        norm = sum((g.square().sum() for g in first), torch.zeros(()))
        return list(torch.autograd.grad(norm, [*net.parameters()]))

    def look() -> list[Tensor]:
        with torch.no_grad():
            y, state = net(x)
            return [y, *state]

    for call in (look, learn, twice):
        call()
        assert_close(*both(call, lambda: FlopCounterMode(display=False)), 1e-5, str(names))
    y, _ = net(x)

    def back() -> list[Tensor]:
        return list(torch.autograd.grad(y.sum(), [*net.parameters()], retain_graph=True))

    assert_close(*both(back, lambda: FlopCounterMode(display=False)), 1e-5)


def test_fake_tensors_have_the_shapes_of_results(backend: str) -> None:
    net = model(backend)
    with FakeTensorMode(allow_non_fake_inputs=True):
        y, state = net(torch.empty(6, 3, 3))
    assert y.shape == (6, 3, 2)
    with FakeTensorMode():
        net = model(backend)
        y, state = net(torch.empty(6, 3, 3), lengths=torch.tensor([1, 2, 3]))
        net(torch.empty(6, 3, 3), state)
        y.sum().backward()
    assert type(y).__name__ == type(state.h).__name__ == "FakeTensor"
    grad = net.get_parameter("W").grad
    assert grad is not None
    assert (state.h.shape, grad.shape) == ((3, 4), (4, 4))
    with FakeTensorMode():
        net = model(backend, SYMBOLS)
        y, state = net(torch.empty(6, 3, dtype=torch.int64))
    assert (y.shape, state.s.shape) == ((6, 3, 2), (3,))


def test_meta_tensors_have_the_shapes_of_results(backend: str) -> None:
    if backend not in ("reference", "aten"):
        with pytest.raises(rnnc.RnnError, match="meta"):
            model(backend).to("meta")(feed().to("meta"))
        return
    lengths = torch.tensor([1, 2, 3], device="meta")
    net = model(backend).to("meta")
    y, state = net(feed(6, 3).to("meta"), lengths=lengths)
    y.sum().backward()
    assert (y.shape, state.h.shape, y.device.type) == ((6, 3, 2), (3, 4), "meta")
    net = model(backend, SYMBOLS).to("meta")
    symbols = torch.empty(6, 3, dtype=torch.int64, device="meta")
    y, state = net(symbols, lengths=lengths)
    assert net(symbols, state)[0].shape == y.shape == (6, 3, 2)


def test_transforms_of_functions_over_symbols(backend: str) -> None:
    net = model(backend, SYMBOLS)
    s = torch.randint(-1, 5, (6, 4), generator=torch.Generator().manual_seed(1))
    lengths = torch.tensor([6, 0, 3, 1])
    expected = net(s, lengths=lengths)[0]

    def one(s: Tensor, length: Tensor) -> Tensor:
        return net(s.unsqueeze(1), lengths=length.unsqueeze(0))[0].squeeze(1)  # type: ignore[no-any-return]

    actual = torch.vmap(one, in_dims=(1, 0), out_dims=1)(s, lengths)
    assert_close(actual, expected, TOLERANCE)
    with pytest.raises(ValueError, match="input s: expected symbols from 0 to 4"):
        torch.vmap(one, in_dims=(1, 0))(s + 3, lengths)
    with pytest.raises(ValueError, match="lengths: expected values from 0 to 6, got 7"):
        torch.vmap(one, in_dims=(1, 0))(s, lengths + 1)
    values = dict(net.named_parameters())

    def score(values: dict[str, Tensor], s: Tensor, length: Tensor) -> Tensor:
        sample = s.unsqueeze(1)
        return (
            torch.func.functional_call(  # type: ignore[no-any-return]
                net, values, (sample,), {"lengths": length.unsqueeze(0)}
            )[0]
            .square()
            .sum()
        )

    row_gradients = torch.vmap(torch.func.grad(score), in_dims=(None, 1, 0))(values, s, lengths)
    complete = torch.autograd.grad(expected.square().sum(), list(values.values()))
    assert_close([g.sum(0) for g in row_gradients.values()], list(complete), 1e-5)


def test_functional_tensors(backend: str) -> None:
    net, x = model(backend), feed()
    assert_close(torch.func.functionalize(lambda x: net(x)[0])(x), net(x)[0], TOLERANCE)
    functional = torch._to_functional_tensor(x)
    with torch.no_grad():
        for _ in range(3):
            actual = net(functional)[0]
            torch._sync(actual)
            assert_close(torch._from_functional_tensor(actual), net(x)[0], TOLERANCE)


def test_a_tracer_sees_wrong_numbers_refused_when_it_runs(backend: str) -> None:
    if backend == "reference":
        pytest.skip("it looks rows up in torch's way")
    net = model(backend, SYMBOLS)
    graph = make_fx(lambda s: net(s)[0])(torch.zeros(3, 2, dtype=torch.int64))
    with pytest.raises(ValueError, match="input s: expected symbols from 0 to 4"):
        graph(torch.full((3, 2), 7))
