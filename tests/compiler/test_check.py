"""`verify` finds what is wrong, in the smallest case that shows it."""

from __future__ import annotations

from typing import Any

import pytest

from rnnc.compiler.check import verify_graph
from rnnc.grammar.source import Source
from rnnc.operators import derivatives
from rnnc.operators.analyse import analyse
from rnnc.operators.graph import OperatorGraph

TEXT = "input x: real[2]\nstate h: real[3]\nh' = tanh(W h + U x + b)\nx' = V h'\n"


def graph() -> OperatorGraph:
    found = analyse(Source(TEXT)).graph
    assert found is not None
    return found


def test_a_right_model_passes() -> None:
    assert all(finding.status != "failed" for finding in verify_graph(graph()))


def test_a_wrong_derivative_is_found_in_the_smallest_case(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(m: Any, z: Any, y: Any) -> Any:
        return m.make("one_minus", y)

    monkeypatch.setitem(derivatives.RULES, "tanh", derivatives._elementwise(wrong))
    failed = {f.name: f.detail for f in verify_graph(graph()) if f.status == "failed"}
    assert "aten against reference, float64" in failed
    assert failed["aten against reference, float64"].startswith("T=1, B=1: gradient of ")
