"""Functions run in interleaved rounds."""

from __future__ import annotations

import time
from functools import partial

from rnnc.runtime.benchmark.measurement.interleaved import MIN_ROUNDS, run_interleaved


def test_each_round_has_every_way_once_and_begins_with_another() -> None:
    order: list[str] = []
    samples = run_interleaved({name: partial(order.append, name) for name in "abc"}, 3)
    assert "".join(order) == "abc" + "abc" + "bca" + "cab"
    assert [len(samples[name].wall) for name in "abc"] == [3, 3, 3]
    assert [len(samples[name].cpu) for name in "abc"] == [3, 3, 3]


def test_the_first_call_is_in_no_round() -> None:
    waits = iter([0.05, 0.0, 0.0])
    samples = run_interleaved({"slow at first": lambda: time.sleep(next(waits))}, 2)
    assert max(samples["slow at first"].wall) < 0.05


def test_time_that_is_up_ends_the_rounds_but_not_too_early() -> None:
    samples = run_interleaved({"a": lambda: time.sleep(0.01)}, 100, budget=0.0)
    assert len(samples["a"].wall) == MIN_ROUNDS
