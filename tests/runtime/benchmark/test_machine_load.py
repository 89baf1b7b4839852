"""The description of the machine, and the load of other programs."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from rnnc.runtime.benchmark.measurement.machine_load import (
    LoadMonitor,
    describe_machine,
    processor_name,
)


def stat(path: Path, busy: int, idle: int) -> None:
    path.write_text(f"cpu  {busy} 0 0 {idle} 0 0 0 0 0 0\ncpu0 1 2 3\n", encoding="ascii")


def test_work_of_others_is_counted_in_processors(tmp_path: Path) -> None:
    path = tmp_path / "stat"
    stat(path, 1000, 5000)
    monitor = LoadMonitor(path)
    with monitor:
        time.sleep(0.2)
        stat(path, 1000 + 100, 5000)  # a second of work, of 100 ticks
    assert monitor.other_load is not None
    assert 2 < monitor.other_load <= 5


def test_own_work_is_not_that_of_others(tmp_path: Path) -> None:
    path = tmp_path / "stat"
    stat(path, 1000, 5000)
    monitor = LoadMonitor(path)
    with monitor:
        end = time.process_time() + 0.2
        while time.process_time() < end:
            pass
        stat(path, 1000 + 20, 5000)
    assert monitor.other_load is not None
    assert monitor.other_load < 0.2


@pytest.mark.parametrize("text", ["", "nonsense\n", "cpu a b c d e f g h\n"])
def test_a_system_that_does_not_tell_says_nothing(tmp_path: Path, text: str) -> None:
    path = tmp_path / "stat"
    path.write_text(text, encoding="ascii")
    with LoadMonitor(path) as monitor:
        time.sleep(0.11)
    assert monitor.other_load is None


def test_the_kind_of_processor(tmp_path: Path) -> None:
    path = tmp_path / "cpuinfo"
    path.write_text("processor : 0\nmodel name\t:  A   Chip \n", encoding="ascii")
    assert processor_name(path) == "A Chip"
    assert processor_name(tmp_path / "missing")


def test_what_stands_beside_figures() -> None:
    machine = describe_machine()
    for part in (machine.date, machine.processor, machine.torch, f"{machine.threads} thread"):
        assert part in str(machine)
