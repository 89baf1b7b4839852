"""Check that sums over rows do not count per-call values once per row."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch

import rnnc
from rnnc.compiler.backends.cpu.execution import executor
from rnnc.compiler.backends.cpu.execution.aten_ops import sum_over_rows
from support.comparison.agreement import assert_agree
from support.comparison.random_arguments import randomize_parameters
from support.comparison.shared_library import compile_in_one_library
from support.specs.parameter_values import PARAMETER_VALUES

CALLS: dict[str, dict[str, Any]] = {
    "one row, one step": {"steps": 1, "rows": 1},
    "one row": {"steps": 4, "rows": 1},
    "one step": {"steps": 1, "rows": 3},
    "plain": {"steps": 4, "rows": 3},
    "everything": {"steps": 5, "rows": 4, "ragged": True, "reset": True, "carry": True},
    "evaluation": {"steps": 3, "rows": 2, "training": False},
}


def agree(text: str, backend: str) -> None:
    for call in CALLS.values():
        assert_agree(text, backend, seed=1, **call)


@pytest.mark.parametrize("backend", ["aten", "cpu"])
def test_every_gradient_is_that_of_the_reference(
    backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cases: list[Callable[[], None]] = [
        partial(agree, t, backend) for t in PARAMETER_VALUES.values()
    ]
    if backend == "cpu":
        cases = compile_in_one_library(cases, monkeypatch)
    for case in cases:
        case()


def test_counted_once_for_each_row_it_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def for_each_row(value: Any, operands: Any) -> torch.Tensor:
        rows = [o.expand(CALLS["plain"]["rows"], *o.shape[-1:]) for o in operands]
        return sum_over_rows(value, rows if operands[0].dim() == 1 else operands)

    monkeypatch.setattr(executor, "sum_over_rows", for_each_row)
    with pytest.raises(AssertionError, match=r"gradients.*'V'.*off by"):
        assert_agree(PARAMETER_VALUES["product"], "cpu", seed=1, **CALLS["plain"])


@pytest.mark.parametrize("name", PARAMETER_VALUES)
def test_no_parameter_stays_at_zero_which_would_hide_its_gradient(name: str) -> None:
    model = randomize_parameters(
        rnnc.compile(PARAMETER_VALUES[name], backend="reference").double(), 1
    )
    assert all(parameter.abs().min() > 0 for parameter in model.parameters())
