"""`rnnc train`, `rnnc eval` and `rnnc tasks` from the command line."""

from __future__ import annotations

import json
import math
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from rnnc.runtime.cli import main
from support.processes.blocked_imports import run_without
from support.processes.commands import ROOT
from support.training.piano_rolls import small_data
from support.training.real_data import real_data
from support.training.small_runs import ADDING, CHORALES, have_equal_tensors

FEW = ["--task-set", "length=4", "--task-set", "train=60", "--task-set", "valid=20"]
FEW += ["--task-set", "test=20"]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with a data set and two specs."""
    small_data(tmp_path / "data")
    (tmp_path / "small.rnn").write_text(CHORALES)
    (tmp_path / "adding.rnn").write_text(ADDING)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RNNC_DATA", str(tmp_path / "data"))
    return tmp_path


def call(*arguments: str, status: int = 0, stdin: str = "") -> tuple[str, str]:
    """Run a command in this process, which saves importing torch each time."""
    result = CliRunner().invoke(main, arguments, input=stdin)
    assert result.exit_code == status, result.output
    assert "internal error" not in result.output
    return result.stdout, result.stderr


def document(*arguments: str) -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(call(*arguments, "--json")[0])
    return parsed


def test_from_a_spec_to_a_score(place):
    out, err = call("train", "small.rnn", "--task", "jsb", "--epochs", "3")
    assert re.match(r"run runs/small-jsb-1\n", out)
    assert "best valid nll" in out
    assert err == "", "nothing on standard error when it is no terminal"
    run = place / "runs" / "small-jsb-1"
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2, 3]

    (place / "small.rnn").unlink()
    scores = document("eval", "runs/small-jsb-1")
    assert set(scores["metrics"]) == {"train", "valid", "test"}
    assert all(math.isfinite(values["nll"]) for values in scores["metrics"].values())
    best = min(line["valid"]["nll"] for line in lines)
    assert scores["metrics"]["valid"]["nll"] == best
    assert (scores["task"], scores["model"], scores["spec"]) == ("jsb", "small", "small.rnn")
    assert scores["baseline"]["metrics"]["test"]["nll"] > 0
    assert {"model": "RNN", "value": 8.338} in [
        {key: figure[key] for key in ("model", "value")} for figure in scores["published"]
    ]
    text, _ = call("eval", "runs/small-jsb-1")
    assert f"{scores['metrics']['test']['nll']:.4g}" in text
    assert "baseline" in text
    assert "8.338" in text


def test_the_adding_problem_needs_no_data(place, monkeypatch):
    monkeypatch.delenv("RNNC_DATA")
    call("train", "adding.rnn", "--task", "adding", *FEW, "--epochs", "2", "--run", "r")
    scores = document("eval", "r")
    assert scores["task_options"]["length"] == 4
    assert set(scores["metrics"]["test"]) == {"squared_error"}


def test_a_spec_from_standard_input(place):
    call("train", "-", "--task", "jsb", "--epochs", "1", "--run", "r", stdin=CHORALES)
    assert document("eval", "r")["spec"] == "<stdin>"


def test_a_run_is_never_overwritten(place):
    train = ["train", "small.rnn", "--task", "jsb", "--epochs", "1", "--run", "r"]
    call(*train)
    before = {path.name: path.read_bytes() for path in (place / "r").iterdir()}
    _, err = call(*train, status=1)
    assert "error[RNN634]" in err
    assert {path.name: path.read_bytes() for path in (place / "r").iterdir()} == before


def started(place: Path, *arguments: str) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT / ".pkg")}
    return subprocess.Popen(
        [sys.executable, "-m", "rnnc", *arguments],
        cwd=place,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def test_ctrl_c_saves_says_how_to_go_on_and_changes_no_bit(place):
    train = ["train", "small.rnn", "--task", "jsb", "--seed", "5", "--patience", "off"]
    process = started(place, *train, "--epochs", "100000", "--run", "cut")
    metrics = place / "cut" / "metrics.jsonl"
    deadline = time.monotonic() + 60
    while not (metrics.exists() and metrics.read_bytes().count(b"\n") >= 2):
        assert time.monotonic() < deadline, "no epoch came to an end"
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert b"rnnc train --resume cut" in err
    assert b"Traceback" not in err
    assert out.startswith(b"run cut\n")

    done = metrics.read_bytes().count(b"\n")
    call("train", "--resume", "cut", "--epochs", str(done + 2))
    call(*train, "--epochs", str(done + 2), "--run", "whole")
    for name in ("last.safetensors", "best.safetensors"):
        assert have_equal_tensors(place / "cut" / name, place / "whole" / name)


def test_a_run_that_was_left_before_its_first_validation_has_no_score(place):
    call("train", "small.rnn", "--task", "jsb", "--epochs", "1", "--run", "r")
    (place / "r" / "best.safetensors").unlink()
    _, err = call("eval", "r", status=1)
    assert "error[RNN630]" in err
    assert "--resume r" in err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train"], "name a FILE to train"),
        (["train", "small.rnn"], "name a task with --task"),
        (["train", "small.rnn", "--task", "jbs"], "did you mean `jsb`?"),
        (["train", "small.rnn", "--task", "jsb", "--lr", "nan"], "expected a finite number above"),
        (["train", "small.rnn", "--task", "jsb", "--epochs", "0"], "expected an integer from 1"),
        (["train", "small.rnn", "--task", "jsb", "--backend", "abacus"], "abacus"),
        (["train", "small.rnn", "--task", "jsb", "--task-set", "length=3"], "no option `length`"),
        (["train", "small.rnn", "--task", "adding", "--task-set", "length=0"], "from 2 to"),
        (["train", "small.rnn", "--task", "adding", "--task-set", "length"], "name=integer"),
        (["train", "--resume", "r", "--lr", "1"], "`--lr` cannot be given"),
        (["train", "small.rnn", "--resume", "r"], "`FILE` cannot be given"),
        (["train", "--resume", "r", "--set", "a=1"], "`--set` cannot be given"),
        (["eval"], "Missing argument 'RUN'"),
    ],
)
def test_wrong_usage(place, arguments, words):
    _, err = call(*arguments, status=2)
    assert words in err
    assert not (place / "runs").exists()


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["train", "nowhere.rnn", "--task", "jsb"], "RNN601"),
        (["train", "adding.rnn", "--task", "jsb"], "RNN620"),
        (["train", "small.rnn", "--task", "jsb", "--data", "nowhere"], "RNN610"),
        (["train", "small.rnn", "--task", "musedata"], "RNN610"),
        (["train", "small.rnn", "--task", "jsb", "--set", "hidden=3"], "RNN216"),
        (["train", "small.rnn", "--task", "jsb", "--model", "other"], "RNN212"),
        (["train", "--resume", "nowhere"], "RNN630"),
        (["eval", "nowhere"], "RNN630"),
        (["eval", "data"], "RNN630"),
        (["eval", "small.rnn"], "RNN631"),
    ],
)
def test_what_is_at_fault_is_one_diagnostic(place, arguments, code):
    _, err = call(*arguments, status=1)
    assert f"error[{code}]" in err
    assert not (place / "runs").exists()


def test_a_failed_score_is_a_json_document_too(place):
    out, _ = call("eval", "nowhere", "--json", status=1)
    assert [d["code"] for d in json.loads(out)["diagnostics"]] == ["RNN630"]


def test_tasks_are_listed_as_text_and_json(place):
    text, _ = call("tasks")
    tasks = {task["name"]: task for task in document("tasks")["tasks"]}
    assert set(tasks) >= {"adding", "jsb", "musedata", "nottingham", "piano_midi"}
    assert tasks["jsb"]["available"]
    assert tasks["adding"]["available"]
    assert not tasks["musedata"]["available"]
    assert all(name in text for name in tasks)
    assert tasks["adding"]["options"]["length"]["default"] == 50


@pytest.mark.parametrize("arguments", [["tasks"], ["train", "--help"], ["eval", "--help"]])
def test_listing_and_help_start_without_torch_and_numpy(arguments):
    program = f"from rnnc.runtime.cli import main; main({arguments!r})"
    assert run_without({"torch", "numpy"}, program).returncode == 0
    # The oracle itself: what needs torch does not start so.
    program = "from rnnc.runtime.cli import main; main(['eval', '.'])"
    assert b"out of reach" in run_without({"torch"}, program).stderr


def test_the_two_line_network_learns_the_chorales(place):
    """A few epochs beat the trivial baseline of 11.06 nats by far."""
    data = real_data("polyphonic/jsb_chorales.npz")
    (place / "rnn.rnn").write_text(CHORALES.replace("[6]", "[200]"))
    train = ["train", "rnn.rnn", "--task", "jsb", "--epochs", "12", "--run", "r"]
    call(*train, "--data", str(data))
    scores = document("eval", "r", "--data", str(data))
    assert scores["metrics"]["test"]["nll"] < 9.6
    assert scores["baseline"]["metrics"]["test"]["nll"] == pytest.approx(11.06, abs=0.005)
