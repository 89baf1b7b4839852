"""One value read at several delays: what a sum takes in of it, and what must be in memory."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from rnnc.compiler.flow import Flow, Value
from support.agreement import answers, assert_agree
from support.several_delays import SEVERAL_DELAYS
from support.shared_unit import compiled_together

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
    cases: list[Callable[[], None]] = [partial(agree, t, backend) for t in SEVERAL_DELAYS.values()]
    if backend == "cpu":
        cases = compiled_together(cases, monkeypatch)
    for case in cases:
        case()


def test_a_product_that_a_sum_takes_in_and_reads_again_is_seen_at_every_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def reads_it(flow: Flow, number: int, reader: Value) -> bool:
        return flow.readers[number] == (reader.number,)

    monkeypatch.setattr(Flow, "is_read_once", reads_it)
    for _ in range(3):
        found = answers(SEVERAL_DELAYS["one matrix, backward"], "cpu", seed=1, steps=4, rows=3)
        assert found["gradients"]["W"].isnan().all()
