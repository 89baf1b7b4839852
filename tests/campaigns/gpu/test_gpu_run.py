"""`make gpu` keeps its time budget, lists skipped work, and needs few packages."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from campaigns.gpu.budget import TimeBudget
from campaigns.gpu.tables import TableSection, Target, format_row, measure_sections
from support.processes.commands import ROOT

from . import pytest_shards, tables

BLOCKED = ("hypothesis", "syrupy", "xdist", "msgspec", "click", "platformdirs")


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_budget_lists_what_does_not_fit() -> None:
    clock = Clock()
    budget = TimeBudget(60, clock)
    part = budget.share(0.5)
    assert part.try_begin("first", 29)
    clock.now += 31
    assert not part.try_begin("second")
    assert budget.try_begin("third", 28)
    assert not budget.try_begin("fourth", 30)
    assert budget.skipped == ["second", "fourth"]
    assert (budget.elapsed, budget.remaining) == (31, 29)


SAID = """
tests/a.py::test_x[chip-lstm] PASSED                                     [ 25%]
tests/a.py::test_x[grid-lstm] SKIPPED (RNNC_CUDA_TIER=grid, but …)       [ 50%]
tests/a.py::test_x[graph-lstm] FAILED                                    [ 75%]
E   AssertionError: off by 2
SKIPPED [1] tests/a.py:12: RNNC_CUDA_TIER=grid, but that tier cannot run this model
"""


def test_what_pytest_says_is_read() -> None:
    names = [f"tests/a.py::test_x[{tier}-lstm]" for tier in ("chip", "grid", "graph")]
    report = pytest_shards.parse_output(SAID.splitlines(), [*names, "tests/a.py::test_y"], True)
    assert (report["passed"], report["skipped"], report["failed"]) == (1, 1, [names[2]])
    assert report["not_reached"] == ["tests/a.py::test_y"]
    assert not report["all_reached"]
    assert report["said"] == ["E   AssertionError: off by 2"]
    assert len(report["why_skipped"]) == 1
    assert pytest_shards.parse_output(SAID.splitlines(), names, True)["all_reached"]


@pytest.mark.parametrize(
    ("status", "said", "expected"),
    [
        (0, "========= ERROR SUMMARY: 0 errors", "passed"),
        (9, "========= ERROR SUMMARY: 3 errors", "failed"),
        (1, "Unable to attach to the device", "skipped"),
    ],
)
def test_the_sanitizer_passes_fails_or_says_why_not(
    status: int, said: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pytest_shards.shutil, "which", lambda name, path=None: f"/usr/bin/{name}")
    done = SimpleNamespace(stdout=said, stderr="", returncode=status)
    monkeypatch.setattr(pytest_shards.subprocess, "run", lambda *a, **k: done)
    report = pytest_shards.sanitize(TimeBudget(10))
    assert report["status"] == expected
    if expected == "skipped":
        assert report["why"] == said


def test_without_the_sanitizer_it_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pytest_shards.shutil, "which", lambda name, path=None: None)
    assert pytest_shards.sanitize(TimeBudget(10)) == {
        "status": "skipped",
        "why": "there is no compute-sanitizer here",
    }


def test_a_row_that_fails_stops_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(place: Target, budget: TimeBudget) -> Iterator[dict[str, Any]]:
        yield {"what": "one", "median": {"cuda": 2.0}, "ratio": 0.5}
        raise RuntimeError("no kernel")

    def fine(place: Target, budget: TimeBudget) -> Iterator[dict[str, Any]]:
        yield {"what": "two", "median": {"cuda": 1.0}, "ratio": 3.0}

    sections = (
        TableSection("a", "A", 1, 2, failing, 0.5),
        TableSection("b", "B", 1, 2, fine, 1, lower_is_better=True),
    )
    monkeypatch.setattr(tables, "SECTIONS", sections)
    lines: list[str] = []
    budget = TimeBudget(60)
    tables_by_name = measure_sections(Target("cpu", interpreted=True), budget, lines.append)
    assert [len(rows) for rows in tables_by_name.values()] == [1, 1]
    assert budget.skipped == ["a: RuntimeError: no kernel"]
    assert "| one | cuda 2.00 ms | 0.50 (too little) |" in lines
    assert "| two | cuda 1.00 ms | 3.00 (too much) |" in lines


def test_a_row_without_a_ratio_was_not_measured() -> None:
    row = {"what": "x", "median": {}, "failed": {"cuda": "refused"}, "ratio": None}
    assert format_row(tables.SECTIONS[0], row) == "| x |  | not measured | cuda: refused"


@pytest.mark.parametrize("section", tables.SECTIONS, ids=lambda section: section.name)
def test_no_time_leaves_everything_out(section: TableSection) -> None:
    budget = TimeBudget(0)
    assert list(section.rows(Target("cpu", interpreted=True), budget)) == []
    assert budget.skipped


@pytest.mark.triton
def test_a_visit_is_tried_out_in_the_interpreter(tmp_path: Path) -> None:
    """All parts run, though little fits; packages that a GPU's machine may lack are blocked."""
    for name in BLOCKED:
        (tmp_path / f"{name}.py").write_text(f"raise ImportError('{name} is blocked')\n")
    paths = [str(tmp_path), str(ROOT / ".pkg"), os.environ.get("PYTHONPATH", "")]
    out = tmp_path / "gpu.json"
    command = [sys.executable, "tests/campaigns/gpu/run.py", "--device", "cpu", "--minutes", "0.8"]
    command += ["--shards", "1", "--tests", "zoo_agrees and chip-rnn", "--out", out]
    environment = {"TRITON_INTERPRET": "1", "PYTHONPATH": os.pathsep.join(paths)}
    done = subprocess.run(
        list(map(str, command)),
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(out.read_text())
    assert report["tests"]["passed"] > 0
    assert report["tests"]["failed"] == []
    assert report["sanitizer"]["status"] == "skipped"
    assert set(report["figures"]) == {section.name for section in tables.SECTIONS}
    (first, *_) = report["figures"]["layers"]
    assert first["median"].keys() >= {"cuda", "torch.nn", "aten", "torch.nn without cuDNN"}
    assert report["measured_on_a_gpu"] is False
