"""Check that in-place changes of one result change nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import rnnc
from rnnc.compiler.module.compiled_rnn import CompiledRNN
from support.comparison.assertions import assert_close
from support.comparison.available_backends import AVAILABLE_BACKENDS

TEXT = """
input x: real[3]
state h: real[4] = learned
state c: real[4] = 0.5
output y: real[2]
output z: real[4]
output last: real[4] at end
h' = tanh(W h + U x + b)
c' = 0.5 * c + h[t-2] + Q x[t-1]
y = V [h' ; c'] + b2
z = h'
last = h'
law V [h' ; c'] ≈ V [c' ; h'] weight 0.3
"""
BOTH_WAYS = """
input x: real[3]
state h, g: real[4] = learned
output y: real[8]
h[t] = tanh(W h[t-1] + U x)
g[t] = tanh(V g[t+1] + Q x)
y = [h' ; g']
"""
STILL = """
input x: real[3]
output y: real[3]
y = x
"""
X = torch.randn(5, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
RESETS = torch.tensor([[0, 0, 1], [0, 1, 0], [0, 0, 0], [0, 0, 1], [0, 0, 0]]).bool()

pytestmark = pytest.mark.parametrize("backend", AVAILABLE_BACKENDS)

Call = Callable[[CompiledRNN, Tensor, Any], Any]
CALLS: dict[str, Call] = {
    "plain": lambda net, x, state: net(x, state),
    "lengths": lambda net, x, state: net(x, state, lengths=[5, 0, 2]),
    "sorted lengths": lambda net, x, state: net(x, state, lengths=[5, 3, 2]),
    "resets": lambda net, x, state: net(x, state, resets=RESETS),
    "both": lambda net, x, state: net(x, state, lengths=[2, 5, 5], resets=RESETS),
    "one step": lambda net, x, state: net(x[:1], state),
    "no steps": lambda net, x, state: net(x[:0], state),
    "a step": lambda net, x, state: net.step(x[0], state),
}
WORK: dict[str, Callable[[Tensor], Tensor]] = {
    "relu_": lambda value: value.relu_(),
    "mul_": lambda value: value.mul_(2),
    "zero_": lambda value: value[0].zero_() if len(value) else value,
}


def model(backend: str, text: str = TEXT, **said: Any) -> CompiledRNN:
    torch.manual_seed(0)
    net = rnnc.compile(text, backend=backend, **said).double()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(torch.randn_like(parameter))
    return net


def flat(found: Any) -> list[Tensor]:
    y, state = found
    return [*(y if isinstance(y, tuple) else (y,)), *(() if state is None else state)]


def texts(name: str) -> tuple[str, ...]:
    return (TEXT, BOTH_WAYS, STILL) if name in ("plain", "lengths") else (TEXT,)


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("work", WORK)
def test_in_place_work_is_differentiated(backend: str, name: str, work: str) -> None:
    for text in texts(name):
        for batch_first in (False, True) if name == "plain" else (False,):
            net = model(backend, text, batch_first=batch_first)
            x = X.clone().requires_grad_()
            count = len(flat(CALLS[name](net, x, None)))
            sources = [x, *net.parameters()]
            for index in range(count):
                cases: list[list[Tensor]] = []
                for in_place in (True, False):
                    results = flat(CALLS[name](net, x, None))
                    if not in_place:
                        results[index] = results[index].clone()
                    WORK[work](results[index])
                    total = sum(r.square().sum() for r in results) + sum(net.laws().values())
                    actual = torch.autograd.grad(total, sources, materialize_grads=True)
                    cases.append([*results, *actual])
                assert_close(cases[0], cases[1], 1e-12, f"result {index}")


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("learning", [True, False])
def test_in_place_work_touches_nothing_else(backend: str, name: str, learning: bool) -> None:
    for text in texts(name):
        net, x = model(backend, text).eval(), X.clone()
        arguments: tuple[Tensor, ...] = ()
        if not net.runs_backward and text != STILL:
            first = net(X)[1]
            arguments = tuple(part.detach().clone() for part in first)
        count = len(flat(CALLS[name](net, x, arguments or None)))
        for index in range(count):
            for _ in range(2):  # the second one may take a short way
                with torch.set_grad_enabled(learning):
                    results = flat(CALLS[name](net, x, arguments or None))
                untouched = [
                    *results[:index],
                    *results[index + 1 :],
                    x,
                    *arguments,
                    *net.parameters(),
                ]
                before = [tensor.detach().clone() for tensor in untouched]
                # With gradients on again: what was made without is changed as torch's own is.
                results[index].mul_(nn.Parameter(torch.full((), 3.0, dtype=torch.float64)))
                assert_close([o.detach() for o in untouched], before, 0.0, f"result {index}")


@pytest.mark.parametrize("rows", [1, 3])
def test_initial_states_may_be_changed(backend: str, rows: int) -> None:
    net = model(backend)
    before = [parameter.detach().clone() for parameter in net.parameters()]
    for learning in (True, False):
        for index in range(3):
            with torch.set_grad_enabled(learning):
                state = net.initial_state(rows)
            state[index].mul_(3).add_(nn.Parameter(torch.ones((), dtype=torch.float64)))
            net(X[:, :rows], state)[0].y.sum().backward()
    assert_close([parameter.detach() for parameter in net.parameters()], before, 0.0)


def test_what_the_backward_pass_reads_is_guarded(backend: str) -> None:
    net, x = model(backend), X.clone()
    y, _ = net(x)
    x.mul_(2)
    with pytest.raises(RuntimeError, match="inplace"):
        y.y.sum().backward()
