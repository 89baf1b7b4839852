"""Windows of time in plans: what is sequential, what it costs, and that it means what it meant."""

from __future__ import annotations

from typing import Any

import pytest

from support.agreement import assert_agree

CALLS: dict[str, dict[str, Any]] = {
    "plain": {"steps": 5, "rows": 3},
    "everything": {"steps": 7, "rows": 3, "ragged": True, "reset": True, "carry": True},
    "one step": {"steps": 1, "rows": 1, "carry": True},
    "no steps": {"steps": 0, "rows": 2, "carry": True},
    "no rows": {"steps": 3, "rows": 0},
    "evaluation": {"steps": 3, "rows": 2, "carry": True, "training": False},
    "several blocks": {"steps": 40, "rows": 2, "reset": True, "carry": True},
    "recomputed": {"steps": 6, "rows": 3, "ragged": True, "reset": True, "memory": "recompute"},
}

AFTER = """
input x: real[3]
state h: real[4]
h' = tanh(W h + U x + b)
M = h[t-4..t]
output y: real[4]
y = Mᵀ softmax(M Q h')
"""
WITHIN = """
input x: real[3]
state h: real[4] = learned
M = h[t-4..t-1]
q = W h + U x + b
h' = tanh(Mᵀ softmax(M q) + q)
output y: real[4]
y = h'
"""
SPECS = {
    "after a loop": AFTER,
    "in a loop": WITHIN,
    "of one row": """
        input x: real[3]
        state h: real[4] = learned
        M = h[t-2..t-2]
        X = x[t..t]
        q = W h + U x + b
        h' = tanh(Mᵀ softmax(M q) + q + sum(X (V h)))
        output y: real[4]
        y = h'
    """,
    "of inputs, in a loop": """
        input x: real[3]
        state h: real[4] = uniform(0, 0.1)
        X = x[t-2..t]
        h' = tanh(W h + U (Xᵀ softmax(X (Q h))) + b)
        output y: real[4]
        y = h'
    """,
    "of the past alone": """
        input x: real[3]
        state h: real[4]
        h' = tanh(W h + U x + b)
        M = h[t-5..t-2]
        X = x[t-3..t-1]
        output y: real[4]
        y = Mᵀ softmax(M h') + V (Xᵀ softmax(X x))
    """,
    "of a mixture": """
        model mix(rows = 3):
            input x: symbol[6]
            state h: real[5]
            h' = tanh(W h + U x + b)
            X = x[t-rows+1..t]
            M = h[t-rows+1..t]
            (a, g) = split(softmax([M h' ; dot(h', h')]), rows, 1)
            x' = log(g * softmax(▷ h') + Xᵀ a)
            loss -log(g + dot(a, X x')) weight 0.5
    """,
    "of symbols, in a loop": """
        input x: symbol[5]
        state h: real[4]
        X = x[t-2..t-1]
        h' = tanh(W h + U x + b + V (Xᵀ softmax(X (P h))))
        output y: real[5]
        y = log(Xᵀ softmax(X (P h')) + softmax(Q h'))
    """,
    "of a future": """
        input x: real[3]
        state g: real[4]
        g[t] = tanh(W g[t+1] + U x + b)
        M = g[t..t+3]
        N = g[t-2..t-1]
        A = g[t+2..t+4]
        output y: real[4]
        y = Mᵀ softmax(M Q x) + Nᵀ softmax(N P x) + Aᵀ softmax(A P x)
    """,
    "of a future, in a loop": """
        input x: real[3]
        state g: real[4]
        M = g[t+1..t+3]
        g[t] = tanh(W g[t+1] + U x + b + Mᵀ (M (Q x)))
        output y: real[4]
        y = g'
    """,
    "with parameters": """
        input x: real[3]
        state h: real[4]
        param p: real[3]
        param q: real[4]
        M = h[t-2..t]
        N = h[t-3..t-1]
        h' = tanh(W h + U x + b + Nᵀ p)
        output y: real[4]
        y = Mᵀ p + V (M q)
    """,
    "with an older state": """
        input x: real[3]
        state h, c: real[4] = 0.3
        M = h[t-2..t]
        h' = tanh(W h + U x + b)
        c' = tanh(Mᵀ (M c[t-2]) + h')
        output y: real[4]
        y = c'
    """,
}


@pytest.mark.parametrize("backend", ["aten", "cpu"])
@pytest.mark.parametrize("name", SPECS)
def test_a_window_agrees_with_the_reference(name: str, backend: str) -> None:
    for call, said in CALLS.items():
        if backend == "aten" or call in {"everything", "several blocks"}:
            assert_agree(SPECS[name], backend, seed=1, require="fused", **said)
