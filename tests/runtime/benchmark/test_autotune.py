"""The search for the fastest choices, by a clock that is made up."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from click.testing import CliRunner

import rnnc
from rnnc.compiler.backends.cuda.autotune import tuning_cache
from rnnc.compiler.backends.cuda.autotune.search_space import TuningTask
from rnnc.compiler.backends.cuda.autotune.tile_sizes import Tiling
from rnnc.compiler.backends.cuda.autotune.tuning_cache import load_table
from rnnc.compiler.backends.cuda.autotune.tuning_table import TuningTable
from rnnc.compiler.backends.cuda.backend import CudaBackend
from rnnc.compiler.backends.cuda.schedule.device_limits import H200
from rnnc.runtime.benchmark import autotune
from rnnc.runtime.benchmark.autotune import search
from rnnc.runtime.benchmark.workload.workload import make_workload
from rnnc.runtime.cli import main

WIDE, NARROW = Tiling(16, 32, 32, 4), Tiling(16, 16, 32, 4)
QUESTIONS = (
    TuningTask("loop", (TuningTable(tiers={"loop": "grid"}), TuningTable(tiers={"loop": "graph"}))),
    TuningTask("a", (TuningTable({"a": WIDE}), TuningTable({"a": NARROW}))),
    TuningTask("b", (TuningTable({"b": WIDE}),)),
)


def seconds(table: TuningTable) -> float:
    """Grid saves a lot, a narrow `a` some; a wide `a` does not run, `b` saves too little."""
    if table.tilings.get("a") == WIDE:
        return float("inf")
    saved = 0.4 * (table.tiers.get("loop") == "grid") + 0.1 * (table.tilings.get("a") == NARROW)
    return 1.0 - saved - 0.001 * ("b" in table.tilings)


def test_what_is_surely_faster_is_kept() -> None:
    found = search(QUESTIONS, seconds, TuningTable())
    assert found.table == TuningTable({"a": NARROW}, {"loop": "grid"})
    assert (found.before, round(found.after, 3), found.trial_count) == (1.0, 0.5, 5)


def test_nothing_is_kept_where_nothing_helps() -> None:
    assert search(QUESTIONS, lambda table: 1.0, TuningTable()).table == TuningTable()


@pytest.fixture
def as_on_an_h200(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(tuning_cache, "_tables", {})
    monkeypatch.setattr(autotune, "query_device_limits", lambda index: H200)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(CudaBackend, "unsupported_reason", lambda self, like: "")


@pytest.mark.usefixtures("as_on_an_h200")
def test_a_model_is_tuned_and_the_answers_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    tables: list[TuningTable] = []

    def made_up(its: object, chip: str, table: TuningTable) -> float:
        tables.append(table)
        return 1.0 / (1 + list(table.tiers.values()).count("graph"))

    monkeypatch.setattr(autotune, "_time_training_step", made_up)
    program = rnnc.compile("zoo:rnn", hidden=64, backend="reference").program
    found = autotune.tune(make_workload(program, 4, 2))
    assert set(found.table.tiers.values()) == {"graph"}
    assert found.trial_count == len(tables) - 3, (
        "what is there is timed first: for tiers, tiles, cuDNN"
    )
    assert tables[-1].libraries == {"RNN_TANH:88:64 float32 rows=2": "cudnn"}
    tuning_cache._tables.clear()
    assert load_table(H200.name) == found.table
    assert str(found).startswith(f"tuned: {found.trial_count} choices tried, ")


@pytest.mark.usefixtures("as_on_an_h200")
def test_a_choice_that_does_not_run_takes_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(its: object, model: object) -> object:
        raise RuntimeError("out of resources")

    monkeypatch.setattr(autotune, "make_step", failing)
    program = rnnc.compile("zoo:rnn", hidden=8, backend="reference").program
    its = make_workload(program, 2, 2)
    assert autotune._time_training_step(its, H200.name, TuningTable()) == float("inf")
    monkeypatch.setattr(autotune, "make_step", lambda its, model: lambda: None)
    assert autotune._time_training_step(its, H200.name, TuningTable()) < 1


def test_there_is_nothing_to_tune_on_the_cpu() -> None:
    result = CliRunner().invoke(main, ["bench", "zoo:rnn", "--tune"])
    assert result.exit_code == 2
    assert "--tune is for --device cuda" in result.output


def test_the_search_runs_when_asked_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    from rnnc.runtime.commands import bench

    asked: list[object] = []
    monkeypatch.setattr(bench, "_require_device", lambda device: None)
    monkeypatch.setattr(
        "rnnc.runtime.benchmark.workload.workload.make_workload", lambda *a, **k: SimpleNamespace()
    )
    monkeypatch.setattr(bench, "_tune", asked.append)

    def stopped(*_: object) -> object:
        raise RuntimeError("far enough")

    monkeypatch.setattr(bench, "_measure", stopped)
    for more, count in ([], 0), (["--tune"], 1):
        CliRunner().invoke(main, ["bench", "zoo:rnn", "--device", "cuda", *more])
        assert len(asked) == count
