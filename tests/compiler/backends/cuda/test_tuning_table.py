"""Tuning tables are stored on disk, validated when read, and override the defaults."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import pytest

from rnnc.compiler.backends import warn_once
from rnnc.compiler.backends.cuda.autotune import tuning_cache, tuning_lookup
from rnnc.compiler.backends.cuda.autotune.search_space import strategy_tasks, tiling_tasks
from rnnc.compiler.backends.cuda.autotune.strategy_selection import select_strategies
from rnnc.compiler.backends.cuda.autotune.tile_sizes import Tiling, default_tiling
from rnnc.compiler.backends.cuda.autotune.tuning_cache import (
    load_table,
    save_table,
    table_path,
    use_table,
)
from rnnc.compiler.backends.cuda.autotune.tuning_lookup import SLOWER_REASON, tuned_tiling
from rnnc.compiler.backends.cuda.autotune.tuning_table import TuningTable, kernel_key, loop_key
from rnnc.compiler.backends.cuda.codegen.kernel_arguments import KernelVariant
from rnnc.compiler.backends.cuda.codegen.kernel_file import generate_kernel_file
from rnnc.compiler.backends.cuda.schedule.device_limits import H200
from rnnc.compiler.backends.cuda.schedule.persistent_layout import DeviceContext
from rnnc.compiler.pipeline import build_plan
from rnnc.compiler.request import training_request
from rnnc.compiler.schedule.plan import Plan
from rnnc.grammar.source import Source
from rnnc.operators.analyze import analyze

DEVICE_NAME = "NVIDIA H200"
SPEC = "input x: real[8]\nstate h: real[64]\nh' = x ⊕ h\noutput y: real[4]\ny = V h'\n"
TABLE = TuningTable(
    {"rows width=4 products=0 bytes=4": Tiling(32, 4, 1, 8)}, {"> 64:64 bytes=4": "graph"}
)


@pytest.fixture(autouse=True)
def use_empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(tuning_cache, "_tables", {})
    monkeypatch.setattr(warn_once, "_warned", set())


def build_loop_plan() -> Plan:
    graph = analyze(Source(SPEC)).graph
    assert graph is not None
    return build_plan(graph, training_request(graph, sink_elementwise=True))


def clear_tables() -> None:
    tuning_cache._tables.clear()


def test_without_a_file_the_rules_decide(capfd: pytest.CaptureFixture[str]) -> None:
    assert load_table(DEVICE_NAME) == TuningTable()
    assert capfd.readouterr().err == ""


def test_what_is_kept_is_read_again() -> None:
    path = save_table(DEVICE_NAME, TABLE)
    assert path == table_path(DEVICE_NAME)
    assert path.name == "nvidia-h200.json"
    clear_tables()
    assert load_table(DEVICE_NAME) == TABLE
    assert load_table("NVIDIA A100") == TuningTable()
    other_table = TuningTable({"step width=64 products=4 bytes=2": Tiling(16, 16, 64, 4)})
    save_table(DEVICE_NAME, other_table)
    clear_tables()
    assert load_table(DEVICE_NAME) == other_table.merge(TABLE)
    save_table(DEVICE_NAME, TuningTable(), replaced_keys=[*TABLE.tilings, *TABLE.tiers])
    clear_tables()
    assert load_table(DEVICE_NAME) == other_table
    assert [p.name for p in path.parent.iterdir()] == [path.name], "nothing unfinished is left"


def corrupt(text: str, change: str) -> str:
    document = json.loads(text)
    match change:
        case "cut short":
            return text[: len(text) // 2]
        case "an entry changed":
            document["table"]["tiers"] = {"x": "grid"}
        case "another version":
            document["version"] = "0.0.1"
        case "another format":
            document["format"] = 99
        case "no table":
            document = [1, 2]
        case "a tiling of three":
            document["table"]["tilings"] = {"x": {"rows": 3, "columns": 1, "depth": 1, "warps": 4}}
            document["check"] = tuning_cache._checksum(document["table"])
        case "a tier of no name":
            document["table"]["tiers"] = {"x": "fast"}
            document["check"] = tuning_cache._checksum(document["table"])
        case "of another chip":
            document["table"]["chip"] = "NVIDIA A100"
            document["check"] = tuning_cache._checksum(document["table"])
    return json.dumps(document)


CHANGES = (
    *("cut short", "an entry changed", "another version", "another format", "no table"),
    *("a tiling of three", "a tier of no name", "of another chip"),
)


@pytest.mark.parametrize("change", CHANGES)
def test_a_file_of_no_use_is_ignored_and_one_line_says_so(
    change: str, capfd: pytest.CaptureFixture[str]
) -> None:
    path = save_table(DEVICE_NAME, TABLE)
    path.write_text(corrupt(path.read_text(), change))
    for _ in range(2):
        clear_tables()
        assert load_table(DEVICE_NAME) == TuningTable()
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith(f"rnnc: {path} is ignored: ")
    assert line.endswith("`rnnc bench FILE --tune` writes it anew")
    save_table(DEVICE_NAME, TABLE)
    clear_tables()
    assert load_table(DEVICE_NAME) == TABLE


@pytest.mark.parametrize("fault", ["pipe", "link", "folder", "open folder", "too long"])
def test_what_is_not_our_own_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], fault: str
) -> None:
    path = save_table(DEVICE_NAME, TABLE)
    if fault == "open folder":
        path.parent.chmod(0o777)
    elif fault == "too long":
        monkeypatch.setattr(tuning_cache, "MAX_FILE_BYTES", 10)
    else:
        path.rename(tmp_path / "moved")
        if fault == "pipe":
            os.mkfifo(path)
        elif fault == "link":
            path.symlink_to(tmp_path / "moved")
        else:
            path.mkdir()
    clear_tables()
    assert load_table(DEVICE_NAME) == TuningTable()
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith(f"rnnc: {path} is ignored: ")


def test_a_write_that_fails_leaves_the_old_file(monkeypatch: pytest.MonkeyPatch) -> None:
    path = save_table(DEVICE_NAME, TABLE)

    def fail_to_sync(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tuning_cache.os, "fsync", fail_to_sync)
    with pytest.raises(OSError, match="No space left"):
        save_table(DEVICE_NAME, TuningTable(tiers={"> 1:1 bytes=4": "grid"}))
    clear_tables()
    assert load_table(DEVICE_NAME) == TABLE
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_many_writers_leave_a_whole_file() -> None:
    tables = [TuningTable(tiers={f"> {n}:1 bytes=4": "grid"}) for n in range(8)]
    threads = [threading.Thread(target=save_table, args=(DEVICE_NAME, table)) for table in tables]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    clear_tables()
    assert load_table(DEVICE_NAME).tiers


def test_a_tier_in_the_table_is_taken_and_said() -> None:
    plan, context = build_loop_plan(), DeviceContext(H200, batch_size=20)
    (forward, backward) = [phase for phase in plan.phases if phase.kind == "loop"]
    assert select_strategies(plan, context)[forward.id].strategy == "chip"
    with use_table(H200.name, TuningTable(tiers={loop_key(plan, forward, context): "graph"})):
        choices = select_strategies(plan, context)
        assert choices[forward.id].strategy == "graph"
        assert dict(choices[forward.id].rejected) == {"chip": SLOWER_REASON, "grid": SLOWER_REASON}
        assert choices[backward.id].strategy == "chip"
        assert (
            select_strategies(plan, DeviceContext(H200, batch_size=31))[forward.id].strategy
            == "graph"
        )
        assert (
            select_strategies(plan, DeviceContext(H200, batch_size=33))[forward.id].strategy
            == "chip"
        )
        assert select_strategies(plan, context, "chip")[forward.id].strategy == "chip", "forced"
    assert select_strategies(plan, context)[forward.id].strategy == "chip"


def test_a_tiling_in_the_table_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuning_lookup, "device_name", lambda index: DEVICE_NAME)
    plan = build_loop_plan()
    file = generate_kernel_file(
        plan, KernelVariant(), select_strategies(plan, DeviceContext(H200), "graph")
    )
    kernels = [kernel for loop in file.loop_kernels.values() for kernel in loop]
    key = kernel_key(kernels[0], 4)
    assert tuned_tiling(kernels[0], 4, 0) is None
    with use_table(DEVICE_NAME, TuningTable({key: Tiling(16, 32, 32, 8)})):
        assert tuned_tiling(kernels[0], 4, 0) == Tiling(16, 32, 32, 8)
        assert tuned_tiling(kernels[0], 2, 0) is None
        assert tuned_tiling(kernels[0], 4, None) is None, "on the CPU, in the interpreter"


def test_questions_are_about_what_fits() -> None:
    plan, context = build_loop_plan(), DeviceContext(H200, batch_size=20)
    for task in strategy_tasks(plan, context):
        strategies = [table.tiers[task.key] for table in task.candidates]
        assert "chip" not in strategies
        assert "graph" in strategies
    assert list(tiling_tasks(plan, context)) == [], "all tiles are those of a tier on chip"
    loops = [phase for phase in plan.phases if phase.kind == "loop"]
    with use_table(
        H200.name, TuningTable(tiers={loop_key(plan, p, context): "graph" for p in loops})
    ):
        tasks = list(tiling_tasks(plan, context))
        file = generate_kernel_file(plan, KernelVariant(), select_strategies(plan, context))
    assert tasks
    for task in tasks:
        for table in task.candidates:
            tiling = table.tilings[task.key]
            sizes = (tiling.rows, tiling.columns, tiling.depth, tiling.warps)
            assert all(size > 0 and not size & (size - 1) for size in sizes)
    kernel = file.loop_kernels[loops[0].id][0]
    kernel_task = next(q for q in tasks if q.key == kernel_key(kernel, 4))
    assert default_tiling(kernel, 4) not in [
        table.tilings[kernel_task.key] for table in kernel_task.candidates
    ]
