"""The laws of a model are separate training metrics."""

from __future__ import annotations

import json
import math

import pytest

from support.processes.commands import rnnc

SPEC = """
input x: real[2]
state h: real[4]
output y: real at end
h' = x ⊕ h
y = ▷ h'
law x ⊕ (x[t-1] ⊕ h) ≈ x[t-1] ⊕ (x ⊕ h) weight 0.1
"""


@pytest.mark.parametrize("law", [True, False])
def test_the_value_of_a_law_is_recorded_each_epoch(tmp_path, law):
    spec = SPEC if law else SPEC.replace("law", "# law")
    (tmp_path / "spec.rnn").write_text(spec, encoding="utf-8")
    options = ["--task-set", "length=4", "--task-set", "train=20", "--task-set", "valid=5"]
    result = rnnc(
        "train",
        "spec.rnn",
        "--task",
        "adding",
        *options,
        "--epochs",
        "2",
        "--run",
        "run",
        cwd=tmp_path,
    )
    assert result.returncode == 0, result.stderr.decode()
    lines = (tmp_path / "run" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    for line in map(json.loads, lines):
        if not law:
            assert line["train"].keys() == {"loss"}
            continue
        ((text, value),) = line["train"]["laws"].items()
        assert text == SPEC.strip().splitlines()[-1]
        assert math.isfinite(value)
        assert value > 0
