"""Check the longest delays that the language allows, on every backend."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import rnnc
from support.comparison import random_arguments
from support.comparison.assertions import assert_close
from support.comparison.available_backends import AVAILABLE_BACKENDS

HEAD = "input x: real[2]\nstate h: real[3] = learned\noutput y: real[3]\n"
FAR = {
    "of a state": "h' = tanh(W h[t-65536] + V h + U x)\ny = h'\n",
    "of an input": "h' = tanh(W h + U x[t-65536] + V x)\ny = h'\n",
    "ahead": "h[t] = tanh(W h[t+65536] + V h[t+1] + U x)\ny = h'\n",
    "of an output": "h' = tanh(W h + U x)\ny = A h[t-65536] + h'\n",
}


def everything(backend: str, text: str) -> list[Tensor]:
    model = random_arguments.randomize_parameters(
        rnnc.compile(HEAD + text, backend=backend), 3
    ).double()
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(3, 2, 2, generator=generator, dtype=torch.float64).requires_grad_()
    tensors: list[Tensor] = []
    state = None
    for lengths in (None, [3, 2]):
        y, after = model(x, state, lengths=lengths)
        state = None if model.runs_backward else after
        tensors.append(y)
        if state is not None:
            tensors += [part.double() for part in state]
    total = sum((v.square().sum() for v in tensors), torch.zeros(()))
    sources = [x, *model.parameters()]
    return [*tensors, *torch.autograd.grad(total, sources, materialize_grads=True)]


@pytest.mark.parametrize("far", FAR)
def test_every_backend_agrees(far: str) -> None:
    expected = everything("reference", FAR[far])
    for backend in AVAILABLE_BACKENDS:
        assert_close(everything(backend, FAR[far]), expected, 1e-10, backend)


@pytest.mark.parametrize("value", [1e39, -1e39, 10**13, 10**400])
def test_absurd_parameters_are_diagnostics(value: float) -> None:
    text = (
        "model m(c = 1.0):\n    input x: real[2]\n    state h: real[2]\n"
        "    h' = tanh(c * h + x)\n    x' = ▷ h'\n"
    )
    rnnc.compile(text, c=-1e38)
    with pytest.raises(rnnc.RnnError, match="RNN213"):
        rnnc.compile(text, c=value)


@pytest.mark.parametrize("said", ["uniform(-1e38, 1e38)", "normal(1e38)", "constant(-1e38)"])
def test_the_largest_numbers_begin_a_model(said: str) -> None:
    head, x = "input x: real[2]\n", torch.zeros(1, 1, 2)
    text = f"state h: real[2] = -1e38\nparam W: {said}\nh' = x + 0 * W h\nx' = ▷ h'\n"
    rnnc.compile(head + text)(x)
    text = "state h: real[2] = uniform(-1e38, 1e38)\nh' = x + 0 * h\nx' = ▷ h'\n"
    rnnc.compile(head + text)(x)
