"""Check calls without steps, without rows, or with only empty rows, on every backend."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import rnnc
from support.comparison.agreement import assert_agree
from support.comparison.available_backends import AVAILABLE_BACKENDS
from support.generator import random_spec

SPEC = """
input x: real[3]
state h: real[2] = learned
output y: real[2] at end
h' = x ⊕ h
y = h'
"""
OTHERS = [name for name in AVAILABLE_BACKENDS if name != "reference"]
CALLS: dict[str, dict[str, Any]] = {
    "no steps": {"steps": 0, "rows": 2},
    "no steps, carried": {"steps": 0, "rows": 2, "carry": True, "ragged": True, "reset": True},
    "no rows": {"steps": 3, "rows": 0, "carry": True, "ragged": True, "reset": True},
    "neither": {"steps": 0, "rows": 0, "carry": True},
}


@pytest.mark.parametrize("backend", OTHERS)
@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("seed", [64, 65, 66])
def test_they_agree_with_the_reference(seed: int, call: str, backend: str) -> None:
    spec = random_spec(seed)
    assert_agree(spec.text, backend, sizes=spec.sizes, seed=seed, **CALLS[call])


@pytest.mark.parametrize("backend", AVAILABLE_BACKENDS)
def test_rows_without_a_step_give_back_their_state(backend: str) -> None:
    model = rnnc.compile(SPEC, backend=backend)
    x = torch.randn(4, 2, 3, requires_grad=True)
    state = (torch.randn(2, 2, requires_grad=True),)
    y, after = model(x, state, lengths=[0, 0])
    assert torch.equal(y, torch.zeros(2, 2))
    assert torch.equal(after.h, state[0])
    (y.sum() + 3 * after.h.sum()).backward()
    assert state[0].grad is not None
    assert torch.equal(state[0].grad, torch.full((2, 2), 3.0))
    assert x.grad is None or not x.grad.any()
    for parameter in model.parameters():
        assert parameter.grad is None or not parameter.grad.any()
