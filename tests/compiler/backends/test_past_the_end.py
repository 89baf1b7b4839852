"""Check that values past a row's length affect neither values nor gradients.

Past its length a row holds its states and repeats its last input (zeros for an empty row), so that
functions are evaluated at points that no real step has reached: their slopes may be infinite.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch

import rnnc
from support.comparison.agreement import assert_agree, compute_results
from support.comparison.assertions import assert_close
from support.comparison.available_backends import AVAILABLE_BACKENDS

HEAD = """
input x: real[4]
state h: real[4] = learned
output y: real[4]
z: real[4] = W h + U x
v: real[4] = V x
param rho, g: vector
"""
ENDS = {
    "maxout": "maxout(2, [z ; v])",
    "softmax": "softmax(z)",
    "tanh": "tanh(z)",
    "σ": "σ(z)",
    "exp": "exp(tanh(z))",
    "sqrt": "sqrt(2 + tanh(z))",
    "log": "log(2 + tanh(z))",
    "elu": "elu(z)",
    "silu": "silu(z)",
    "softsign": "softsign(z)",
    "quotient": "z / (2 + tanh(v))",
    "lp": "lp(2, [z ; v], rho)",
    "layernorm": "layernorm(z, g, b1)",
    "rmsnorm": "rmsnorm(z, g)",
    "a maximum of a maximum": "maxout(2, maxout(2, [z ; v ; x ; h]))",
    "a log of a maximum": "log(2 + tanh(maxout(2, [z ; v])))",
}
WINDOWED = {
    "a mix": "tanh(Mᵀ softmax(M z))",
    "scores": "tanh(R (M z))",
    "a maximum of a mix": "maxout(2, [Mᵀ softmax(M z) ; z])",
}
RAGGED: list[dict[str, Any]] = [
    {"steps": 5, "rows": 4, "ragged": True},
    {"steps": 5, "rows": 4, "ragged": True, "carry": True, "reset": True},
    {"steps": 5, "rows": 4, "ragged": True, "memory": "recompute"},
]
SPECS = {name: HEAD + f"h' = {end}\ny = h'\n" for name, end in ENDS.items()} | {
    name: HEAD + f"M = h[t-3..t-1]\nh' = {end}\ny = h'\n" for name, end in WINDOWED.items()
}
BACKWARD = """
input x: real[4]
state h: real[4]
output y: real[4]
z: real[4] = W h[t+1] + U x
h[t] = maxout(2, [z ; x])
y = h'
"""


@pytest.mark.parametrize("spec", SPECS)
def test_a_function_whose_derivative_reads_its_result(spec: str) -> None:
    for call in RAGGED:
        assert_agree(SPECS[spec], seed=11, **call)


def test_backward_in_time() -> None:
    for call in RAGGED:
        assert_agree(BACKWARD, seed=11, **call)


NEVER_SEEN = {
    "log": "log(x)",
    "1 / x": "1 / x",
    "sqrt": "sqrt(x)",
    "quotient": "x / (x[t-1] + x)",
}
PLACES = {
    "in a loop": "h' = tanh(W h + U ({}) + b)\ny = h'\n",
    "of all steps": "h' = tanh(W h + U x + b)\ny = R ({}) + h'\n",
    "in a scan": "h' = σ(b) * h + {}\ny = R h'\n",
    "in a scan, backward": "g[t] = σ(b) * g[t+1] + {}\nh' = h\ny = R g'\nstate g: real[4]\n",
    "in a window": "M = x[t-2..t]\nh' = tanh(W h + Mᵀ softmax(M ({})))\ny = h'\n",
    "in a window of a loop": "M = h[t-3..t-1]\nh' = tanh(W h + Mᵀ tanh(M ({})))\ny = h'\n",
}
HEADER = "input x: real[4]\nstate h: real[4] = learned\noutput y: real[4]\nparam b: vector\n"
LENGTHS = [3, 0, 5]


def _together_and_apart(text: str, backend: str) -> tuple[Any, Any]:
    """Results and gradients of ragged rows in one call, and of each row in a call of its own."""
    results: list[Any] = []
    torch.manual_seed(3)
    x = torch.rand(5, 3, 4, dtype=torch.float64) + 0.5
    model = rnnc.compile(text, backend=backend).double()
    weight = torch.randn(5, 3, 4, dtype=torch.float64)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_()
    for parts in ([[0, 1, 2]], [[0], [1], [2]]):
        model.zero_grad()
        leaf, ys = x.clone().requires_grad_(), []
        for rows in parts:
            lengths = [LENGTHS[row] for row in rows]
            steps = max(lengths)
            if not steps:
                ys.append(x[:0, 0])
                continue
            y, _ = model(leaf[:steps, rows], lengths=lengths if len(rows) > 1 else None)
            (y * weight[:steps, rows]).sum().backward()
            ys += [y[: LENGTHS[row], i].detach() for i, row in enumerate(rows)]
        grads = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
        results.append((tuple(ys), {**grads, "x": leaf.grad}))
    return results[0], results[1]


@pytest.mark.parametrize("backend", AVAILABLE_BACKENDS)
@pytest.mark.parametrize("place", PLACES)
def test_a_row_without_steps_and_a_function_with_a_pole(place: str, backend: str) -> None:
    names = NEVER_SEEN if backend == "aten" else ["log"]
    for name in names:
        together, apart = _together_and_apart(
            HEADER + PLACES[place].format(NEVER_SEEN[name]), backend
        )
        assert_close(together, apart, 1e-12, f"{name} {place}")


def test_the_comparison_sees_what_a_held_state_would_do() -> None:
    unmasked = compute_results(SPECS["maxout"], "aten", seed=11, steps=5, rows=4)
    ragged = compute_results(SPECS["maxout"], "aten", seed=11, steps=5, rows=4, ragged=True)
    with pytest.raises(AssertionError):
        assert_close(unmasked, ragged, 1e-9)
