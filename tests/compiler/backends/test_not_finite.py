"""Check that NaN or infinity in one row of a batch stays in that row, forward and backward."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import rnnc
from support.comparison.available_backends import AVAILABLE_BACKENDS
from support.comparison.random_arguments import CallArguments, feed, randomize_parameters
from support.generator import random_spec

STEPS, ROWS, BAD = 6, 3, 1
SPEC = """
input x: real[3]
state h: real[4]
output y: real[2]
h' = tanh(W h + U x + b)
y = V h'
"""


def run(model: Any, given: CallArguments) -> tuple[list[Tensor], list[Tensor]]:
    """What a call gives and the gradients of inputs and states, by row: (B, …) each."""
    x = {k: v.clone().requires_grad_(v.is_floating_point()) for k, v in given.inputs.items()}
    state = given.state
    if state is not None:
        state = type(state)(*(v.clone().requires_grad_(v.is_floating_point()) for v in state))
    torch.manual_seed(0)
    y, after = model(x, state, lengths=given.lengths, resets=given.resets)
    ys = list(y) if isinstance(y, tuple) else [y]
    results = [v.movedim(1, 0) if v.dim() > 2 else v for v in ys]
    results += [
        v.movedim(-2, 0) if v.is_floating_point() else v.movedim(-1, 0) for v in after or ()
    ]
    # A sum of squares: infinite, or no number, in the gradient of the bad row, too.
    total = sum(
        (v[r].double().square().sum() for v in results for r in range(ROWS)), torch.zeros(())
    )
    gradients: list[Tensor] = []
    sources = [(v, 1) for v in x.values() if v.is_floating_point()]
    sources += [(v, v.dim() - 2) for v in state or () if v.is_floating_point()]
    if isinstance(total, Tensor) and total.requires_grad and sources:
        grads = torch.autograd.grad(total, [v for v, _ in sources], allow_unused=True)
        pairs = zip(sources, grads, strict=True)
        gradients = [g.movedim(axis, 0) for (_, axis), g in pairs if g is not None]
    return results, gradients


def assert_apart(seed: int, bad: float, backend: str, rows: list[int]) -> None:
    """Some rows are the same bits whether row `BAD` has a number that is none, or not."""
    spec = random_spec(seed)
    model = rnnc.compile(spec.text, backend=backend, parameters=spec.sizes)
    randomize_parameters(model, seed).train(bool(seed % 2))
    flags = {"ragged": seed % 3 == 0, "reset": seed % 4 == 0, "carry": seed % 5 == 0}
    arguments = feed(model, STEPS, ROWS, seed=seed, **flags)
    clean = run(model, arguments)
    for value in arguments.inputs.values():
        if value.is_floating_point():
            value[1, BAD] = bad
    for value in arguments.state or ():
        if value.is_floating_point():
            value[..., BAD, :1] = bad
    dirty = run(model, arguments)
    for before, after in zip(clean, dirty, strict=True):
        for value_before, value in zip(before, after, strict=True):
            assert torch.equal(value_before[rows], value[rows])


@pytest.mark.parametrize("backend", AVAILABLE_BACKENDS)
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("seed", range(104, 112))
def test_it_stays_in_its_row(seed: int, bad: float, backend: str) -> None:
    assert_apart(seed, bad, backend, [row for row in range(ROWS) if row != BAD])


def test_the_comparison_sees_the_row_itself() -> None:
    with pytest.raises(AssertionError):
        assert_apart(104, float("nan"), "reference", [BAD])


@pytest.mark.parametrize("backend", AVAILABLE_BACKENDS)
def test_it_ends_with_its_segment(backend: str) -> None:
    torch.manual_seed(0)
    model = rnnc.compile(SPEC, backend=backend)
    x = torch.randn(6, 2, 3)
    x[1, 0] = float("nan")
    resets = torch.zeros(6, 2, dtype=torch.bool)
    resets[3, 0] = True
    x.requires_grad_()
    y, state = model(x, resets=resets)
    assert y[:3, 0].isnan().any()
    assert y[3:].isfinite().all()
    assert state.h.isfinite().all()
    y[3:].sum().backward()
    assert x.grad is not None
    assert x.grad[:, 1].isfinite().all()
    assert x.grad[3:].isfinite().all()


@pytest.mark.parametrize("backend", AVAILABLE_BACKENDS)
def test_what_lies_past_a_row_s_end_is_never_seen(backend: str) -> None:
    torch.manual_seed(0)
    model = rnnc.compile(SPEC, backend=backend)
    x = torch.randn(5, 2, 3)
    lengths = torch.tensor([2, 5])
    results: list[list[Tensor]] = []
    for beyond in (0.0, float("nan")):
        x[2:, 0] = beyond
        model.zero_grad()
        y, state = model(x.requires_grad_(), lengths=lengths)
        y.square().sum().backward()
        assert x.grad is not None
        parts = [y, state.h, x.grad, *(p.grad for p in model.parameters() if p.grad is not None)]
        results.append([part.detach().clone() for part in parts])
        x = x.detach()
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))
