"""The clock around the parts of an epoch."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from performance.sections import epoch
from performance.sections.epoch import PARTS, PhaseClock, profile_epoch
from performance.sections.session import Session
from rnnc.runtime.training import loop
from support.training.piano_rolls import small_data


def test_parts_inside_of_parts_count_once() -> None:
    clock = PhaseClock()
    inner = clock.timed("inner", lambda: time.sleep(0.02))
    outer = clock.timed("outer", inner)
    clock.begin_epoch()
    outer()
    inner()
    time.sleep(0.02)
    clock.end_epoch()
    [seconds] = clock.epochs
    assert seconds["outer"] >= 0.02
    assert seconds["inner"] >= 0.02
    assert seconds["bookkeeping"] >= 0.02
    assert sum(v for k, v in seconds.items() if k != "epoch") == pytest.approx(seconds["epoch"])


def test_an_epoch_is_the_sum_of_its_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RNNC_DATA", str(small_data(tmp_path)))
    original_collate = loop.collate
    profile = profile_epoch("zoo:dots_rnn", "jsb", "aten", epochs=1)
    assert loop.collate is original_collate
    assert {*PARTS, "validation", "bookkeeping", "epoch"} == set(profile)
    assert all(seconds > 0 for seconds in profile.values())
    assert sum(v for k, v in profile.items() if k != "epoch") == pytest.approx(profile["epoch"])


def test_without_data_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RNNC_DATA", str(tmp_path))
    session = Session(quick=True)
    assert epoch.epoch(session).text() == ""
    assert "Not measured: the epoch" in session.take_remarks()[1]
