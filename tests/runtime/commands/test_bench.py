"""`rnnc bench` times every backend and says which one lost."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from rnnc.runtime.cli import main
from rnnc.runtime.measure import measure

SPEC = "model m:\n    input x: real[3]\n    state h: real[4]\n    h' = x ⊕ h\n    x' = ▷ h'\n"


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    path = tmp_path / "m.rnn"
    path.write_text(SPEC, encoding="utf-8")
    return path


def test_every_backend_is_timed(spec: Path) -> None:
    options = ["--steps", "3", "--rows", "2", "--repeat", "2", "--against", "RNN"]
    result = CliRunner().invoke(main, ["bench", str(spec), *options, "--json"])
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    for name in ("cpu", "aten", "reference", "torch.nn.RNN"):
        for what in ("forward", "step"):
            times = document["seconds"][f"{name} {what}"]
            assert 0 < times["low"] <= times["median"] <= times["high"]
    assert document["steps"] == 3


def test_the_table_compares_with_the_compiled_kernels(spec: Path) -> None:
    options = ["--steps", "2", "--rows", "1", "--repeat", "2"]
    result = CliRunner().invoke(main, ["bench", str(spec), *options])
    assert result.exit_code == 0, result.output
    assert "cpu step" in result.stdout
    assert "1.00×" in result.stdout


def test_ways_run_in_turns() -> None:
    order: list[str] = []
    measure({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, 2)
    assert order == list("ababab")
