"""Check that a backward state has its initial value before the first step, on every backend."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
import torch

import rnnc
from support.comparison.agreement import assert_agree
from support.comparison.cases import assert_call_agrees
from support.comparison.shared_library import compile_in_one_library
from support.generator.calls import CallConfig
from support.specs.backward_state_history import BACKWARD_STATE_HISTORY


def agree(text: str, backend: str) -> None:
    for steps in (0, 1, 2, 5):
        assert_agree(text, backend, seed=1, steps=steps, rows=3)
        assert_agree(text, backend, seed=2, steps=steps, rows=3, ragged=True)
        assert_agree(text, backend, seed=3, steps=steps, rows=3, ragged=True, reset=True)
        assert_agree(text, backend, seed=4, steps=steps, rows=2, reset=True, memory="recompute")


@pytest.mark.parametrize("backend", ["aten", "cpu"])
def test_every_gradient_is_that_of_the_reference(
    backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = BACKWARD_STATE_HISTORY.values()
    cases: list[Callable[[], None]] = [partial(agree, text, backend) for text in texts]
    if backend == "cpu":
        cases = compile_in_one_library(cases, monkeypatch)
    for case in cases:
        case()


@pytest.mark.parametrize("name", BACKWARD_STATE_HISTORY)
@pytest.mark.parametrize("steps", [1, 2, 5])
def test_the_reference_agrees_with_the_oracle(name: str, steps: int) -> None:
    for calling in (
        CallConfig(steps=steps),
        CallConfig(steps=steps, lengths="ragged", resets="some"),
    ):
        assert_call_agrees(BACKWARD_STATE_HISTORY[name], calling, "oracle")


@pytest.mark.parametrize("backend", ["reference", "aten", "cpu"])
def test_it_is_the_initial_value(backend: str) -> None:
    text = "input s: real\nstate k: real = 1.5\noutput y: real\nk' = 0.5 * k[t+1] + s\ny = k[t-2]\n"
    model = rnnc.compile(text, backend=backend).double()
    s = torch.tensor([1.0, 2.0, 4.0], dtype=torch.float64).view(3, 1, 1)
    resets = torch.tensor([[False], [False], [True]])
    y, _ = model(s)
    assert y.flatten().tolist() == [1.5, 1.5, 1.0 + 0.5 * (2.0 + 0.5 * (4.0 + 0.5 * 1.5))]
    y, _ = model(s, resets=resets)
    assert y.flatten().tolist() == [1.5, 1.5, 1.5]
