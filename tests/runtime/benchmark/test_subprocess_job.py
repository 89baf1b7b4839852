"""Memory and first calls, measured in separate processes."""

from __future__ import annotations

import io
import json
import subprocess
import sys

import msgspec
import pytest

import rnnc
from rnnc.runtime.benchmark.measurement import (
    process_memory,
    subprocess_job,
    subprocess_worker,
)
from rnnc.runtime.benchmark.measurement.job_protocol import Job
from rnnc.runtime.benchmark.measurement.process_memory import process_memory_growth
from rnnc.runtime.benchmark.workload.candidate import Unavailable
from rnnc.runtime.benchmark.workload.workload import Workload, make_workload
from rnnc.runtime.training.run_state.checkpoint import StoredProgram

SPEC = "input x: real[3]\nstate h: real[64]\nh' = x ⊕ h\nx' = ▷ h'\n"


def made(steps: int, rows: int) -> Workload:
    return make_workload(rnnc.compile(SPEC, backend="reference").program, steps, rows)


GROWN = """
import torch
from rnnc.runtime.benchmark.measurement.subprocess_worker import process_memory_growth

def step():
    for _ in range(2):
        held = torch.ones({size} // 4)
        del held

def twice():
    held = torch.ones({size} // 4)
    step()

print(process_memory_growth(step), process_memory_growth(twice))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux measures it")
def test_the_peak_of_a_step_is_what_it_holds_at_once() -> None:
    size = 48 * 2**20
    # In a process of its own, as it is used: what tests leave behind in this one counts as well.
    program = [sys.executable, "-c", GROWN.format(size=size)]
    once, twice = map(int, subprocess.run(program, capture_output=True, check=True).stdout.split())
    assert 0.9 * size < once < 1.3 * size
    assert 1.9 * size < twice < 2.3 * size


def test_a_system_that_does_not_measure_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(field: str) -> int:
        raise OSError(f"there is no {field}")

    monkeypatch.setattr(process_memory, "read_process_status", missing)
    with pytest.raises(Unavailable, match="this system does not measure it: there is no VmRSS"):
        process_memory_growth(lambda: None)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux measures it")
def test_a_step_takes_at_least_what_its_states_take() -> None:
    steps, rows = 200, 64
    assert (
        subprocess_job.measure_step_memory(made(steps, rows), "reference") > steps * rows * 64 * 4
    )


def test_a_second_process_finds_what_the_first_has_built() -> None:
    cold, warm = subprocess_job.measure_first_calls(made(4, 2), "cpu")
    assert cold.libraries >= 1
    assert warm.libraries == 0
    assert cold.seconds > warm.seconds
    assert cold.other is not None
    assert cold.other[1] == 0


def test_a_process_that_fails_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(Unavailable, match="did not answer"):
        subprocess_job.measure_step_memory(made(2, 2), "aten")


def test_what_cannot_run_there_says_why(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    program = rnnc.compile("zoo:dts_rnn", hidden=4, backend="reference").program
    job = Job("memory", StoredProgram.from_program(program), "torch.nn", 2, 2, 1)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(msgspec.json.encode(job))))
    subprocess_worker.main()
    assert "no layers" in json.loads(capsys.readouterr().out)["unavailable"]


def test_the_reason_of_the_other_process_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = subprocess.CompletedProcess("", 0, stdout=b'noise\n{"unavailable": "no memory"}\n')
    monkeypatch.setattr(subprocess, "run", lambda *arguments, **options: answer)
    with pytest.raises(Unavailable, match=r"^no memory$"):
        subprocess_job.measure_step_memory(made(2, 2), "aten")
