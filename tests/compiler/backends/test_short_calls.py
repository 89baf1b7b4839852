"""Check calls shorter than the carry, with and without masks."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import rnnc
from support.comparison.agreement import assert_agree
from support.comparison.assertions import assert_close
from support.comparison.available_backends import AVAILABLE_BACKENDS

OTHERS = [name for name in AVAILABLE_BACKENDS if name != "reference"]
SPECS = {
    "a state": """
        input x: real[2]
        state h: real[2] = -1.5
        output y: real[2]
        h' = 0.5 * h + tanh(U x) ⊙ h[t-5]
        y = h'
    """,
    "everything": """
        input x: real[2]
        input s: symbol[3]
        state h: real[2] = learned
        state c: real[2] = 0.7
        output y: real[4]
        M = h[t-6..t-3]
        X = x[t-5..t-4]
        h' = tanh(W h[t-4] + U x[t-3] + E s[t-7])
        c' = σ(h) ⊙ c[t-2]
        y = [h[t-3] + c[t-5] ; Mᵀ softmax(M h') + Xᵀ tanh(X stopgrad(h[t-2]))]
    """,
}


@pytest.mark.parametrize("backend", OTHERS)
@pytest.mark.parametrize("spec", SPECS)
def test_they_agree_with_the_reference(spec: str, backend: str) -> None:
    for steps in (1, 2, 3, 8):
        for ragged in (False, True):
            for reset in (False, True):
                options = {"ragged": ragged, "reset": reset, "seed": steps, "carry": True}
                assert_agree(SPECS[spec], backend, steps=steps, rows=3, **options)


@pytest.mark.parametrize("backend", AVAILABLE_BACKENDS)
@pytest.mark.parametrize("spec", SPECS)
def test_step_by_step_gives_what_the_whole_gives(spec: str, backend: str) -> None:
    torch.manual_seed(0)
    model = rnnc.compile(SPECS[spec], backend=backend).double().eval()
    steps, rows = 12, 3
    inputs: dict[str, Any] = {"x": torch.randn(steps, rows, 2, dtype=torch.float64)}
    if len(model.graph.inputs) > 1:
        inputs["s"] = torch.randint(-1, 3, (steps, rows))
    resets = torch.zeros(steps, rows, dtype=torch.bool)
    resets[7, 1] = resets[8, 1] = True
    masks: list[dict[str, Any]] = [
        {},
        {"resets": torch.zeros_like(resets)},
        {"resets": resets},
        {"lengths": torch.full((rows,), steps)},
    ]
    for options in masks:
        complete, last = model(inputs, model.initial_state(rows), **options)
        ys, state = [], model.initial_state(rows)
        for t in range(steps):
            step_options: dict[str, Any] = {}
            if "resets" in options:
                step_options["resets"] = options["resets"][t : t + 1]
            if "lengths" in options:
                step_options["lengths"] = torch.ones(rows, dtype=torch.int64)
            y, state = model({k: v[t : t + 1] for k, v in inputs.items()}, state, **step_options)
            ys.append(y)
        assert_close((torch.cat(ys), tuple(state)), (complete, tuple(last)), 1e-12, backend)


@pytest.mark.parametrize("backend", AVAILABLE_BACKENDS)
def test_a_row_without_a_step_keeps_its_state(backend: str) -> None:
    model = rnnc.compile(SPECS["everything"], backend=backend).double().eval()
    state = model.initial_state(2)
    x = {"x": torch.randn(1, 2, 2, dtype=torch.float64), "s": torch.tensor([[0, 2]])}
    for _ in range(3):
        _, state = model(x, state)
    _, after = model(x, state, lengths=[1, 0], resets=torch.tensor([[False, False]]))
    for before, now in zip(state, after, strict=True):
        axis = -2 if before.is_floating_point() else -1
        assert torch.equal(before.select(axis, 1), now.select(axis, 1))
        assert not torch.equal(before.select(axis, 0), now.select(axis, 0))
