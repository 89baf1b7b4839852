"""Conventions of the manual where several would do: all backends, both oracles."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import rnnc
from support.comparison.available_backends import AVAILABLE_BACKENDS
from support.comparison.oracle_check import assert_matches_oracle
from support.comparison.random_arguments import CallArguments

CORNERS = """
input x: real[6]
output relu_0: real[6]
output leaky_0: real[6]
output elu_0: real[6]
output abs_0: real[6]
output largest: real[2]
output power: real[3]
output none: real[2]
param r: vector, real[3], constant(1)
relu_0 = relu(x)
leaky_0 = leaky_relu(x)
elu_0 = elu(x)
abs_0 = abs(x)
largest = maxout(3, x)
power = lp(2, x, r)
X = x[t-2..t-1]
none = softmax(X x)
"""
AT = [0.0, 0.0, 0.0, 1.0, 1.0, 0.0]
THIRD, HALF = 1 / 3, 1 / 2


def jacobians(backend: str, text: str, x: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return each output at the first step, and its derivatives by the input, (m, n)."""
    model = rnnc.compile(text, backend=backend).double()
    point = torch.tensor(x, dtype=torch.float64).view(1, 1, -1).requires_grad_()
    y, _ = model(point)
    named = y._asdict() if isinstance(y, tuple) else {"y": y}
    slopes = {
        name: np.stack(
            [torch.autograd.grad(e, point, retain_graph=True)[0].numpy().ravel() for e in v[0, 0]]
        )
        for name, v in named.items()
    }
    return {name: v.detach().numpy().ravel() for name, v in named.items()}, slopes


@pytest.mark.parametrize("backend", AVAILABLE_BACKENDS)
def test_the_slopes_of_corners(backend: str) -> None:
    values, slopes = jacobians(backend, CORNERS, AT)
    ones = np.array(AT)
    for name, at_zero in (("relu_0", 0.0), ("leaky_0", 0.01), ("elu_0", 1.0), ("abs_0", 0.0)):
        np.testing.assert_array_equal(values[name], ones)
        np.testing.assert_allclose(np.diag(slopes[name]), np.where(ones > 0, 1, at_zero))
    # Entries that are equally large share the slope.
    np.testing.assert_array_equal(values["largest"], [0, 1])
    shares = [[THIRD] * 3 + [0] * 3, [0] * 3 + [HALF, HALF, 0]]
    np.testing.assert_allclose(slopes["largest"], shares)
    # A group of zeros is 0, and has no slope; nor has a zero beside another entry.
    assert values["power"][0] < 1e-100
    np.testing.assert_array_equal(slopes["power"][0], 0)
    np.testing.assert_array_equal(slopes["power"][1][[2, 3]] != 0, [False, True])
    # There is nothing before the first step to attend to.
    np.testing.assert_array_equal(values["none"], 0)
    np.testing.assert_array_equal(slopes["none"], 0)


EDGES = "input x: real[4]\noutput y: real[4]\ny = {}(x)\n"


@pytest.mark.parametrize("backend", AVAILABLE_BACKENDS)
@pytest.mark.parametrize(
    ("function", "value", "slope"),
    [
        ("log", [-np.inf, 0, np.nan, np.inf], [np.inf, 1]),
        ("sqrt", [0, 1, np.nan, np.inf], [np.inf, 0.5]),
    ],
)
def test_the_edges_of_log_and_sqrt(
    backend: str, function: str, value: list[float], slope: list[float]
) -> None:
    model = rnnc.compile(EDGES.format(function), backend=backend).double()
    x = torch.tensor([0, 1, -1, np.inf], dtype=torch.float64).view(1, 1, 4).requires_grad_()
    y, _ = model(x)
    np.testing.assert_array_equal(y.detach().numpy().ravel(), value)
    y[0, 0, :2].sum().backward()
    assert x.grad is not None
    np.testing.assert_array_equal(x.grad.numpy().ravel()[:2], slope)


SYMBOLS = """
input s: symbol[3]
input q: real[3]
output scores: real[3]
output shares: real[3]
output mixed: real[3]
output same: real[3]
output looked: real[3]
param E: real[3, 3]
X = s[t-2..t]
scores = X q
shares = softmax(X q)
mixed = Xᵀ softmax(X q)
same = X s
looked = E s + [s]
"""


@pytest.mark.parametrize("backend", AVAILABLE_BACKENDS)
def test_no_symbol_in_a_window(backend: str) -> None:
    """A row of no symbol is there and all zero: it has a share, and gives nothing."""
    model = rnnc.compile(SYMBOLS, backend=backend).double()
    s, q = torch.tensor([[1], [-1]]), torch.tensor([1.0, 2.0, 3.0]).double().expand(2, 1, 3)
    y, _ = model({"s": s, "q": q})
    last = {name: value[1, 0].detach().numpy() for name, value in y._asdict().items()}
    np.testing.assert_array_equal(last["scores"], [0, 2, 0])
    share = np.exp([2.0, 0.0]) / np.exp([2.0, 0.0]).sum()
    np.testing.assert_allclose(last["shares"], [0, *share])
    np.testing.assert_allclose(last["mixed"], [0, share[0], 0])
    np.testing.assert_array_equal(last["same"], 0)
    np.testing.assert_array_equal(last["looked"], 0)


GAPS = """
input x: real[2]
output all: real[3]
output arithmetic: real[3]
output parts: real[2]
output sums: real
output logs: real
M = x[t-2..t]
a = softmax(M x)
all = a
z: real[3] = 2 * exp(M x) - 1
arithmetic = softmax(z)
(p, q) = split(z, 1, 2)
parts = softmax([p ; 0.5])
sums = sum(z) + dot(z, z)
logs = dot(a, log(a / 2))
"""


@pytest.mark.parametrize("backend", AVAILABLE_BACKENDS)
def test_missing_rows(backend: str) -> None:
    model = rnnc.compile(GAPS, backend=backend).double()
    y, _ = model(torch.ones(2, 1, 2).double())
    first = {name: value[0, 0].detach().numpy() for name, value in y._asdict().items()}
    z = 2 * np.exp(2.0) - 1
    np.testing.assert_allclose(first["all"], [0, 0, 1])
    np.testing.assert_allclose(first["arithmetic"], [0, 0, 1])
    np.testing.assert_allclose(first["parts"], [0, 1])
    np.testing.assert_allclose(first["sums"], [z + z * z])
    np.testing.assert_allclose(first["logs"], [np.log(0.5)])


def _corners(model: Any) -> CallArguments:
    x = torch.tensor([AT, AT, [0.0] * 6], dtype=torch.float64).view(3, 1, 6)
    return CallArguments({"x": x}, None, None, None)


def _symbols(model: Any) -> CallArguments:
    s = torch.tensor([[1, -1], [-1, -1], [2, 0]])
    q = torch.randn(3, 2, 3, generator=torch.Generator().manual_seed(0)).double()
    return CallArguments({"s": s, "q": q}, None, None, None)


def _gaps(model: Any) -> CallArguments:
    x = torch.randn(5, 2, 2, generator=torch.Generator().manual_seed(0)).double()
    return CallArguments(
        {"x": x}, None, torch.tensor([5, 3]), torch.arange(5)[:, None].expand(5, 2) == 3
    )


@pytest.mark.parametrize("backend", AVAILABLE_BACKENDS)
@pytest.mark.parametrize(
    ("text", "made"), [(CORNERS, _corners), (SYMBOLS, _symbols), (GAPS, _gaps)]
)
def test_both_oracles_know_them(
    backend: str, text: str, made: Callable[[Any], CallArguments]
) -> None:
    model = rnnc.compile(text, backend=backend).double().eval()
    assert_matches_oracle(model, made(model))
