"""`rnnc compile`, and the stages that `--emit` prints."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from support.processes.commands import rnnc


@pytest.mark.parametrize("stage", ["syntax", "graph", "adjoint", "plan"])
def test_each_stage_prints(stage: str) -> None:
    process = rnnc("inspect", "zoo:lstm", "--emit", stage)
    assert process.returncode == 0, process.stderr
    assert len(process.stdout.splitlines()) > 20
    assert process.stdout == rnnc("compile", "zoo:lstm", "--emit", stage).stdout


def test_compile_reports_phases_and_what_runs_them() -> None:
    process = rnnc("compile", "zoo:lstm", "--backend", "aten", "--json")
    assert process.returncode == 0, process.stderr
    report = json.loads(process.stdout)
    assert report["backend"] == "aten"
    assert [p["kind"] for p in report["phases"]].count("loop") == 2
    assert all(p["backend"] == "aten" and p["why"] for p in report["phases"])
    assert report["hoisted"]
    assert sum(p["share"] for p in report["phases"]) == pytest.approx(1, abs=0.01)
    text = rnnc("compile", "zoo:lstm", "--backend", "aten").stdout.decode()
    assert "hoisted out of loops" in text
    assert "kept for the backward pass (save)" in text


def test_a_requirement_that_is_not_met_is_an_error(tmp_path: Path) -> None:
    arguments = ["compile", "zoo:lstm", "--backend", "reference", "--require", "fused"]
    process = rnnc(*arguments)
    assert process.returncode == 1
    assert b"RNN501" in process.stderr
    assert rnnc(*arguments[:2], "--require", "fused").returncode == 0


def test_inspect_shows_the_plan_without_torch() -> None:
    report = json.loads(rnnc("inspect", "zoo:gru", "--plan", "--json").stdout)
    assert report["plan"]["phases"]
    assert report["cost"]["forward"]["product_flops"] > 0
    assert b"one after the other in a step" in rnnc("inspect", "zoo:gru", "--plan").stdout


def test_passes_are_left_out_by_name() -> None:
    whole = rnnc("inspect", "zoo:lstm", "--emit", "plan").stdout
    assert b"stack" in whole
    assert (
        b"stack" not in rnnc("inspect", "zoo:lstm", "--emit", "plan", "--without", "stack").stdout
    )
    wrong = rnnc("compile", "zoo:lstm", "--without", "abacus")
    assert wrong.returncode == 2
    assert b"abacus" in wrong.stderr


@pytest.mark.parametrize("said", [["-o", "model.py"], ["--output=model.onnx"], ["-o", ""]])
def test_writing_a_model_to_a_file_is_one_clear_usage_error(
    said: list[str], tmp_path: Path
) -> None:
    process = rnnc("compile", "zoo:gru", *said, cwd=tmp_path)
    assert process.returncode == 2
    assert process.stdout == b""
    assert process.stderr.decode().splitlines()[-1] == (
        "Error: writing a model to a file is not available in this version: "
        "`-o model.py` was removed, and C, ONNX and pt2 are not there yet"
    )
    assert not list(tmp_path.iterdir())


def test_the_help_of_compile_names_no_file_to_write() -> None:
    help_text = rnnc("compile", "--help").stdout.decode()
    assert not {"--output", "--vectors", "--force"} & set(help_text.split())
