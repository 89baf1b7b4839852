"""Check a value that is read at several delays: its fusion into a sum, and its buffer."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from rnnc.compiler.ir.dataflow import Dataflow, Value
from support.comparison.agreement import assert_agree, compute_results
from support.comparison.available_backends import AVAILABLE_BACKENDS
from support.comparison.shared_library import compile_in_one_library
from support.specs.multiple_delays import MULTIPLE_DELAYS

CALLS: tuple[dict[str, Any], ...] = (
    {"steps": 1, "rows": 1},
    {"steps": 2, "rows": 3},
    {"steps": 6, "rows": 2},
    {"steps": 7, "rows": 4, "ragged": True, "reset": True, "carry": True},
)


def agree(text: str, backend: str) -> None:
    for call in CALLS:
        assert_agree(text, backend, seed=1, **call)


@pytest.mark.parametrize("backend", ["aten", "cpu"])
def test_every_gradient_is_that_of_the_reference(
    backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cases: list[Callable[[], None]] = [partial(agree, t, backend) for t in MULTIPLE_DELAYS.values()]
    if backend == "cpu":
        cases = compile_in_one_library(cases, monkeypatch)
    for case in cases:
        case()


AHEAD = """
input x: real[2]
state g: real[2] = learned
output y: real[2]
g[t] = tanh(W g[t+1] + x)
"""
FURTHEST = {
    "an output": "y = g[t+3]",
    "an output at the end": "y = g[t+3]\noutput last: real[2] at end\nlast = g[t+4]",
    "a law": "y = g'\nlaw g[t+2] ≈ x weight 0.5",
    "a loss term": "y = g'\nloss dot(g[t+2], g') weight 0.5",
}


@pytest.mark.parametrize("backend", [name for name in AVAILABLE_BACKENDS if name != "reference"])
@pytest.mark.parametrize("reader", FURTHEST)
def test_what_a_result_alone_reads_past_the_end_is_the_initial_value(
    reader: str, backend: str
) -> None:
    for call in CALLS:
        assert_agree(AHEAD + FURTHEST[reader] + "\n", backend, seed=2, **call)


def test_a_product_that_a_sum_takes_in_and_reads_again_is_seen_at_every_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def reads_it(flow: Dataflow, number: int, reader: Value) -> bool:
        return flow.users[number] == (reader.id,)

    monkeypatch.setattr(Dataflow, "has_one_use", reads_it)
    for _ in range(3):
        actual = compute_results(
            MULTIPLE_DELAYS["one matrix, backward"], "cpu", seed=1, steps=4, rows=3
        )
        assert actual["gradients"]["W"].isnan().all()
