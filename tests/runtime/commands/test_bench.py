"""`rnnc bench` times a model and its alternatives, and reports who was slower."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner, Result

from rnnc.runtime.benchmark import comparison
from rnnc.runtime.benchmark.baselines.registry import CANDIDATES
from rnnc.runtime.benchmark.measurement import subprocess_job
from rnnc.runtime.benchmark.measurement.job_protocol import FirstCalls
from rnnc.runtime.benchmark.workload.candidate import Candidate, Unavailable
from rnnc.runtime.benchmark.workload.candidate_names import CANDIDATE_NAMES, CANDIDATES_BY_DEVICE
from rnnc.runtime.cli import main

SPEC = "model m:\n    input x: real[3]\n    state h: real[4]\n    h' = x ⊕ h\n    x' = ▷ h'\n"
SMALL = ["--steps", "3", "--rows", "2", "--repeat", "2", "--times-only"]
CHOSEN = [f"--against={n}" for n in ("cpu", "aten", "reference", "torch.nn", "products", "peak")]


@pytest.fixture
def spec(tmp_path: Path) -> str:
    path = tmp_path / "m.rnn"
    path.write_text(SPEC, encoding="utf-8")
    return str(path)


def bench(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["bench", *arguments])


def summary(value: Any) -> bool:
    return set(value) == {"median", "low", "high"} and (
        0 < value["low"] <= value["median"] <= value["high"]
    )


def test_the_document_has_its_form(spec: str) -> None:
    result = bench(spec, *SMALL, *CHOSEN, "--json")
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert set(document) == {
        *("file", "model", "parameters", "steps", "rows", "machine", "base", "contenders"),
        *("unavailable", "losses", "compile", "missing", "others", "doubts"),
    }
    assert (document["model"], document["steps"], document["rows"]) == ("m", 3, 2)
    assert document["parameters"] == 4 * 4 + 4 * 3 + 4 + 3 * 4 + 3
    assert document["base"] == "cpu"
    assert list(document["contenders"]) == [c.removeprefix("--against=") for c in CHOSEN]
    assert set(document["machine"]) == {
        *("date", "processor", "processors", "threads", "torch", "vectors", "gpu")
    }
    for name, entry in document["contenders"].items():
        assert entry["floor"] == (name in {"products", "peak"})
        assert entry["prepared"] > 0
        for what in ("forward", "step"):
            measured = entry[what]
            assert measured["rounds"] == 2
            assert all(summary(measured[key]) for key in ("seconds", "over_base"))
    assert document["contenders"]["cpu"]["step"]["over_base"]["median"] == 1
    assert document["unavailable"] == {}


def test_the_table_says_what_ran(spec: str) -> None:
    result = bench(spec, *SMALL, "--against=aten", "--against=torch.nn")
    assert result.exit_code == 0, result.output
    assert "T=3, B=2" in result.stdout
    assert "over aten" in result.stdout
    assert "aten is backend aten:" in result.stdout
    assert "torch.nn is torch.nn.RNN and F.linear" in result.stdout


def test_what_cannot_take_part_is_named(spec: str) -> None:
    result = bench("zoo:dts_rnn", "--set=hidden=4", *SMALL, "--against=aten", "--against=torch.nn")
    assert result.exit_code == 0, result.output
    assert "not measured: torch.nn: its operators are no layers" in result.stdout


def test_a_loss_is_not_hidden(spec: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(workload: Any) -> Candidate:
        return Candidate("jax", "a faster one", lambda: None, lambda: None, None)

    monkeypatch.setitem(CANDIDATES, "jax", nothing)
    result = bench(spec, *SMALL, "--against=aten", "--against=jax")
    assert "aten loses: training step, to jax (" in result.stdout
    document = json.loads(bench(spec, *SMALL, "--against=aten", "--against=jax", "--json").stdout)
    assert [lost["to"] for lost in document["losses"]] == ["jax", "jax"]
    assert all(lost["ratio"]["median"] < 1 for lost in document["losses"])


def test_a_baseline_that_computes_something_else_is_not_timed(
    spec: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparison, "describe_mismatch", lambda candidate, right: "all is off")
    result = bench(spec, *SMALL, "--against=aten")
    assert result.exit_code == 1
    assert "RNN520" in result.stderr
    assert "it does not compute the same: all is off" in result.stderr


def test_a_busy_machine_is_owned_up_to(spec: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(comparison, "BUSY_PROCESSORS", -1.0)
    monkeypatch.setattr(comparison, "WIDE_SPREAD", -1.0)
    result = bench(spec, *SMALL, "--against=aten", "--repeat=60")
    assert "the spread is large" in result.stdout
    if Path("/proc/stat").exists():
        assert "this machine is busy" in result.stdout


def test_memory_and_first_calls_are_told(spec: str, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = FirstCalls(1.25, 1, (0.0, 0)), FirstCalls(0.5, 0, (0.001, 0))
    monkeypatch.setattr(subprocess_job, "measure_first_calls", lambda workload, name: calls)
    monkeypatch.setattr(subprocess_job, "measure_step_memory", lambda workload, name: 3 * 2**20)
    options = [spec, *SMALL[:-1], "--against=aten"]
    document = json.loads(bench(*options, "--json").stdout)
    assert document["compile"]["cold"] == {"seconds": 1.25, "libraries": 1, "other": [0.0, 0]}
    assert document["compile"]["warm"]["libraries"] == 0
    assert document["contenders"]["aten"]["memory"] == 3 * 2**20
    text = bench(*options).stdout
    assert "compile: 1.25 s, from the cache 0.50 s, another T and B 0.001 s (0 libraries" in text
    assert "peak memory of a training step: aten 3.0 MiB" in text


def test_what_cannot_be_measured_is_named(spec: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def cannot(workload: Any, name: str) -> Any:
        raise Unavailable("no such system")

    monkeypatch.setattr(subprocess_job, "measure_first_calls", cannot)
    monkeypatch.setattr(subprocess_job, "measure_step_memory", cannot)
    result = bench(spec, *SMALL[:-1], "--against=aten")
    assert result.exit_code == 0, result.output
    assert "not measured: memory of aten: no such system" in result.stdout
    assert "not measured: compile times: no such system" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--rows=0"], "0 is not in the range 1<=x<="),
        (["--steps=-1"], "-1 is not in the range 1<=x<=1000000"),
        (["--repeat=1"], "1 is not in the range 2<=x<=10000"),
        (["--threads=0"], "0 is not in the range 1<=x<="),
        (["--against=cudnn"], "'cudnn' is not one of 'cuda', 'cpu', 'aten'"),
        (["--base=cudnn"], "'cudnn' is not one of"),
    ],
)
def test_wrong_usage(spec: str, arguments: list[str], words: str) -> None:
    result = bench(spec, *arguments)
    assert result.exit_code == 2
    assert words in result.stderr


def test_a_base_that_cannot_run_is_an_error() -> None:
    small = ["--set=hidden=4", *SMALL]
    result = bench("zoo:dts_rnn", *small, "--base=torch.nn", "--against=aten")
    assert result.exit_code == 1
    assert "RNN520" in result.stderr
    assert "torch.nn: its operators are no layers" in result.stderr


def test_errors_are_documents_too(spec: str) -> None:
    result = bench("zoo:dts_rnn", "--set=hidden=4", *SMALL, "--against=torch.nn", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["diagnostics"][0]["code"] == "RNN520"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_without_a_gpu_it_says_so_in_one_line(spec: str) -> None:
    result = bench(spec, *SMALL, "--device", "cuda")
    assert result.exit_code == 1
    first, *hints = result.output.splitlines()
    assert first.startswith("error[RNN520]: nothing can be timed: there is no GPU here that torch")
    assert hints == ["  hint: `rnnc doctor` says what is missing"]


def test_the_gpus_backend_takes_no_part_on_the_cpu(spec: str) -> None:
    result = bench(spec, *SMALL, "--against", "cuda", "--against", "aten", "--json")
    assert result.exit_code == 0
    document = json.loads(result.stdout)
    assert "it runs on NVIDIA's GPUs, not on cpu" in document["unavailable"]["cuda"]
    alone = bench(spec, *SMALL, "--against", "cuda")
    assert alone.exit_code == 1
    assert "RNN520" in alone.output


def test_each_device_has_its_own_candidates() -> None:
    assert "cuda" not in CANDIDATES_BY_DEVICE["cpu"]
    assert not {"cpu", "peak", "products", "jax"} & set(CANDIDATES_BY_DEVICE["cuda"])
    assert set(CANDIDATES_BY_DEVICE["cpu"]) | set(CANDIDATES_BY_DEVICE["cuda"]) == set(
        CANDIDATE_NAMES
    )
