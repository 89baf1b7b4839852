"""Sliding windows in plans: results as the reference, contents of loops, memory."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.profiler import ProfilerActivity, profile

import rnnc
from rnnc.compiler.calls import sequence_masks
from rnnc.compiler.ir.ops import WINDOW_OPS
from rnnc.compiler.pipeline import build_plan
from rnnc.compiler.request import training_request
from rnnc.operators.analyze import analyze
from rnnc.operators.sources.zoo import zoo_source
from support.comparison.agreement import assert_agree

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
    for call, arguments in CALLS.items():
        if backend == "aten" or call in {"everything", "several blocks"}:
            assert_agree(SPECS[name], backend, seed=1, require="fused", **arguments)


def test_a_fault_in_the_mask_of_rows_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    right = sequence_masks.SequenceMasks.window_mask

    def wrong(self: Any, first: int, last: int) -> torch.Tensor:
        return torch.ones_like(right(self, first, last))

    monkeypatch.setattr(sequence_masks.SequenceMasks, "window_mask", wrong)
    with pytest.raises(AssertionError):
        assert_agree(AFTER, "aten", seed=1, **CALLS["everything"])


def test_the_loop_of_the_pointer_sentinel_holds_its_cells_alone() -> None:
    sizes = {"layers": 2, "hidden": 8, "window": 5, "vocab": 11}
    graph = analyze(zoo_source("pointer_sentinel_lstm"), parameters=sizes).graph
    assert graph is not None
    plan = build_plan(graph, training_request(graph))
    values = plan.dataflow.values
    for phase in plan.phases:
        inside = [values[value_id] for value_id in phase.values]
        if phase.kind == "loop":
            # One matmul a cell and direction; windows and vocabularies stay outside.
            assert sum(v.operation == "matmul" for v in inside) == 1
            assert not any(v.operation in WINDOW_OPS or v.operation == "lookup" for v in inside)
            assert max(v.size for v in inside) <= 4 * 8
    assert sum(phase.kind == "loop" for phase in plan.phases) == 2 * 2
    assert {"scores", "log_mix"} <= {v.operation for v in values}
    assert not any(v.operation == "onehot" for v in values)


def peak(model: Any, x: torch.Tensor) -> int:
    """Measure the peak of a training step's allocations, in bytes."""
    y, _ = model(x)
    y.sum().backward()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        y, _ = model(x)
        y.sum().backward()
    most = now = 0
    for event in seen.profiler.kineto_results.events():
        if event.name() == "[memory]":
            now += event.nbytes()
            most = max(most, now)
    return most


@pytest.mark.parametrize("backend", ["aten", "cpu"])
def test_memory_does_not_grow_with_rows_times_width(backend: str) -> None:
    steps, rows, hidden = 64, 4, 256
    window = 128
    text = """
    model attention(rows = 8, hidden = 64):
        input x: real[4]
        state h: real[hidden]
        h' = 0.5 * h + U x
        M = h[t-rows+1..t]
        output y: real[hidden]
        y = Mᵀ softmax(M h')
    """
    x = torch.randn(steps, rows, 4)
    peaks = [
        peak(rnnc.compile(text, backend=backend, parameters={"rows": w, "hidden": hidden}), x)
        for w in (window // 2, window)
    ]
    built = 4 * steps * rows * (window // 2) * hidden
    assert peaks[1] - peaks[0] < built / 4
