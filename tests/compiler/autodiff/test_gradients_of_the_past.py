"""Gradients of the carry and of initial values, for every kind of user.

Users are another state, an output, a law, a `loss` term, a window, or the next call alone.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch

import rnnc
from support.comparison.agreement import assert_agree, compute_results
from support.comparison.available_backends import AVAILABLE_BACKENDS

OTHERS = [name for name in AVAILABLE_BACKENDS if name != "reference"]
HEAD = """
input x: real[2]
state h: real[2] = learned
state g: real[2] = learned
output y: real[2]
h' = tanh(W h + U x)
g' = {}
"""
USERS = {
    "an output": HEAD.format("h'") + "y = h\n",
    "an output, two steps ago": HEAD.format("x") + "y = h[t-2] + g\n",
    "an output, an input": HEAD.format("h") + "y = x[t-3]\n",
    "a sum": HEAD.format("h[t-2]") + "y = h' + h + g[t-3]\n",
    "a state as it is": HEAD.format("h") + "y = g\n",
    "a state two steps later": HEAD.format("h[t-2]") + "y = g'\n",
    "an output at the end": HEAD.replace("y: real[2]", "y: real[2] at end").format("h") + "y = g\n",
    "a law": HEAD.format("x") + "y = h'\nlaw h[t-2] ≈ x[t-1]\nlaw g ≈ h weight 0.3\n",
    "a loss term": HEAD.format("x") + "y = h'\nloss dot(h, g[t-2]) weight 0.4\n",
    "a loss term, a window": HEAD.format("x")
    + "M = g[t-3..t-1]\ny = h'\nloss sum(Mᵀ softmax(M h)) weight 0.4\n",
    "a window": HEAD.format("x") + "M = g[t-3..t-1]\ny = Mᵀ softmax(M h)\n",
    "a product": HEAD.format("W h[t-2]") + "y = V h[t-3] + x[t-1]\n",
    "nobody in evaluation": HEAD.format("x") + "y = h'\ninput z: real[2]\nlaw z[t-2] ≈ z\n",
}
CALLS: list[dict[str, Any]] = [
    {"steps": 4, "rows": 2},
    {"steps": 1, "rows": 2, "carry": True},
    {"steps": 2, "rows": 3, "carry": True, "ragged": True},
    {"steps": 5, "rows": 3, "carry": True, "reset": True},
    {"steps": 5, "rows": 3, "carry": True, "ragged": True, "reset": True, "training": False},
]


@pytest.mark.parametrize("backend", OTHERS)
@pytest.mark.parametrize("user", USERS)
def test_they_agree_with_the_reference(user: str, backend: str) -> None:
    for call in CALLS:
        assert_agree(USERS[user], backend, seed=5, **call)


@pytest.mark.parametrize("backend", AVAILABLE_BACKENDS)
def test_a_state_that_an_output_gives_as_it_is(backend: str) -> None:
    text = "input x: real\nstate h: real = learned\noutput y: real\nh' = x\ny = h' + h\n"
    model = rnnc.compile(text, backend=backend)
    y, _ = model(torch.randn(3, 4, 1))
    y.sum().backward()
    assert model.init.h.grad.tolist() == [4.0]


@pytest.mark.parametrize("backend", AVAILABLE_BACKENDS)
def test_every_part_of_a_carried_state_counts(backend: str) -> None:
    # Otherwise a case above might agree because both sides are zero.
    results = compute_results(USERS["a sum"], backend, steps=4, rows=2, carry=True, seed=5)
    for name in ("state h", "state g"):
        assert results["gradients"][name].abs().min() > 0
