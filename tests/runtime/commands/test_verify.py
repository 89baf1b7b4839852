"""`rnnc verify`: output, order of output, and exit status."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from rnnc.compiler.backends.registry import BACKENDS
from rnnc.runtime.cli import main
from rnnc.runtime.commands.verify import BACKEND_NAMES
from support.faults.faulty_backend import faulty_backend
from support.processes.commands import ROOT, rnnc

SMALL = "input x: real[3]\nstate h: real[n]\nh' = x (+) h\nx' = |> h'\n"


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    path = tmp_path / "small.rnn"
    path.write_text("model small(n):\n" + "".join(f"    {line}\n" for line in SMALL.splitlines()))
    return path


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["verify", *map(str, arguments)])


def test_a_small_model_passes_within_its_time(spec: Path) -> None:
    process = rnnc("verify", spec, "--set", "n=4", "--json")
    assert process.returncode == 0, process.stdout + process.stderr
    report = json.loads(process.stdout)
    assert list(report) == ["model", "ok", "complete", "seconds", "checks"]
    assert report["ok"]
    assert report["model"] == "small"
    assert report["seconds"] < 12  # a case that was begun in time is ended
    fields = ["name", "backend", "device", "dtype", "status", "seen", "cases"]
    fields += ["detail", "case", "show"]
    assert all(list(check) == fields for check in report["checks"])
    kinds = {check["name"].partition(":")[0] for check in report["checks"]}
    assert kinds == {
        "against the reference",
        "finite differences",
        "parts against the whole",
        "rows alone",
        "step by step",
    }
    (aten,) = (c for c in report["checks"] if c["name"] == "against the reference: aten, float64")
    assert (aten["status"], aten["seen"]) == ("ok", aten["cases"])


@pytest.mark.parametrize("terminal", [False, True])
def test_a_check_is_said_as_it_begins(spec: Path, terminal: bool) -> None:
    if terminal:
        reader, writer = os.openpty()
    else:
        reader, writer = os.pipe()
    process = subprocess.Popen(  # it runs long after its first words
        [sys.executable, "-m", "rnnc", "verify", spec, "--set", "n=4", "--backend", "aten"],
        stdout=writer,
        env={**os.environ, "PYTHONPATH": str(ROOT / ".pkg")},
    )
    os.close(writer)
    try:
        text = os.read(reader, 65536).decode()
        assert text.startswith("against the reference: aten, float64 … ")
        assert "nothing is off" not in text
    finally:
        process.kill()
        process.wait()
        os.close(reader)


def test_backends_can_be_chosen(spec: Path) -> None:
    process = run(spec, "--set", "n=2", "--backend", "aten", "--backend", "reference", "--json")
    checks = json.loads(process.stdout)["checks"]
    assert {check["backend"] for check in checks} == {"aten", "reference"}
    unknown = run(spec, "--backend", "abacus")
    assert unknown.exit_code == 2
    assert "abacus" in unknown.stderr


def test_all_backends_can_be_named() -> None:
    assert set(BACKEND_NAMES) == {"auto", *BACKENDS}


def test_a_backend_that_is_named_must_be_here(spec: Path) -> None:
    process = rnnc("verify", spec, "--backend", "cuda", env={"CUDA_VISIBLE_DEVICES": "-1"})
    assert process.returncode == 1
    assert b"error[RNN501]: backend `cuda` cannot run `small` here" in process.stderr


def test_a_fault_is_shown_in_its_smallest_case_and_again(
    spec: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = faulty_backend("output", lambda call: call.batch_size > 1, "aten")
    monkeypatch.setitem(BACKENDS, "aten", wrong)
    process = run(spec, "--set", "n=2", "--model", "small", "--backend", "aten")
    assert process.exit_code == 1
    first, value, command, *_, last = process.stdout.splitlines()
    assert first == "against the reference: aten, float64 … FAILED at T=1,B=2"
    assert value.startswith("  output x' at [0, ")
    words = shlex.split(command)
    options = ["--set", "n=2", "--model", "small", "--backend", "aten", "--case", "T=1,B=2"]
    assert words == ["rnnc", "verify", str(spec), *options]
    assert last.endswith("checks failed")
    again = run(*words[2:])
    assert again.exit_code == 1
    assert value in again.stdout.splitlines()


def test_without_time_nothing_is_ok(spec: Path) -> None:
    process = run(spec, "--set", "n=2", "--seconds", "1e-9", "--json")
    assert process.exit_code == 1
    report: dict[str, Any] = json.loads(process.stdout)
    assert not report["ok"]
    assert not report["complete"]
    assert {check["status"] for check in report["checks"]} <= {"unfinished", "skipped"}


@pytest.mark.parametrize(
    "wrong", [("--seconds", "0"), ("--case", "T=0,B=1"), ("--case", "everything")]
)
def test_wrong_usage(spec: Path, wrong: tuple[str, str]) -> None:
    process = run(spec, "--set", "n=2", *wrong)
    assert process.exit_code == 2
    assert wrong[0] in process.stderr


def test_a_spec_at_fault_is_said_once_as_json(tmp_path: Path) -> None:
    path = tmp_path / "wrong.rnn"
    path.write_text("input x: real[3]\nh' = x\n")
    process = rnnc("verify", path, "--json")
    assert process.returncode == 1
    assert json.loads(process.stdout)["diagnostics"]
