"""What was found fastest on a chip: kept on disk, checked when read, used in place of the rules."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import pytest

from rnnc.compiler.backends import warn_once
from rnnc.compiler.backends.cuda.autotune import tuning_table
from rnnc.compiler.backends.cuda.autotune.search_space import tier_questions, tile_questions
from rnnc.compiler.backends.cuda.autotune.strategy_selection import choices_of
from rnnc.compiler.backends.cuda.autotune.tile_sizes import Tiling, tiling_of
from rnnc.compiler.backends.cuda.autotune.tuning_table import (
    SLOWER,
    Table,
    keep,
    kernel_key,
    loop_key,
    path_of,
    table_of,
    tuned_tiling,
    using,
)
from rnnc.compiler.backends.cuda.codegen.kernel_arguments import Case
from rnnc.compiler.backends.cuda.codegen.kernel_file import program_of
from rnnc.compiler.backends.cuda.schedule.device_limits import H200
from rnnc.compiler.backends.cuda.schedule.persistent_layout import Setting
from rnnc.compiler.pipeline import plan_for
from rnnc.compiler.request import training_request
from rnnc.compiler.schedule.plan import Plan
from rnnc.grammar.source import Source
from rnnc.operators.analyze import analyse

CHIP = "NVIDIA H200"
SPEC = "input x: real[8]\nstate h: real[64]\nh' = x ⊕ h\noutput y: real[4]\ny = V h'\n"
TABLE = Table(
    {"rows width=4 products=0 bytes=4": Tiling(32, 4, 1, 8)}, {"> 64:64 bytes=4": "graph"}
)


@pytest.fixture(autouse=True)
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(tuning_table, "_known", {})
    monkeypatch.setattr(warn_once, "_told", set())


def planned() -> Plan:
    graph = analyse(Source(SPEC)).graph
    assert graph is not None
    return plan_for(graph, training_request(graph, sink=True))


def forget() -> None:
    tuning_table._known.clear()


def test_without_a_file_the_rules_decide(capfd: pytest.CaptureFixture[str]) -> None:
    assert table_of(CHIP) == Table()
    assert capfd.readouterr().err == ""


def test_what_is_kept_is_read_again() -> None:
    path = keep(CHIP, TABLE)
    assert path == path_of(CHIP)
    assert path.name == "nvidia-h200.json"
    forget()
    assert table_of(CHIP) == TABLE
    assert table_of("NVIDIA A100") == Table()
    more = Table({"step width=64 products=4 bytes=2": Tiling(16, 16, 64, 4)})
    keep(CHIP, more)
    forget()
    assert table_of(CHIP) == more.over(TABLE)
    keep(CHIP, Table(), asked=[*TABLE.tilings, *TABLE.tiers])
    forget()
    assert table_of(CHIP) == more
    assert [p.name for p in path.parent.iterdir()] == [path.name], "nothing unfinished is left"


def broken(text: str, change: str) -> str:
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
            document["check"] = tuning_table._check(document["table"])
        case "a tier of no name":
            document["table"]["tiers"] = {"x": "fast"}
            document["check"] = tuning_table._check(document["table"])
        case "of another chip":
            document["table"]["chip"] = "NVIDIA A100"
            document["check"] = tuning_table._check(document["table"])
    return json.dumps(document)


CHANGES = (
    *("cut short", "an entry changed", "another version", "another format", "no table"),
    *("a tiling of three", "a tier of no name", "of another chip"),
)


@pytest.mark.parametrize("change", CHANGES)
def test_a_file_of_no_use_is_ignored_and_one_line_says_so(
    change: str, capfd: pytest.CaptureFixture[str]
) -> None:
    path = keep(CHIP, TABLE)
    path.write_text(broken(path.read_text(), change))
    for _ in range(2):
        forget()
        assert table_of(CHIP) == Table()
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith(f"rnnc: {path} is ignored: ")
    assert line.endswith("`rnnc bench FILE --tune` writes it anew")
    keep(CHIP, TABLE)
    forget()
    assert table_of(CHIP) == TABLE


@pytest.mark.parametrize("fault", ["pipe", "link", "folder", "open folder", "too long"])
def test_what_is_not_our_own_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], fault: str
) -> None:
    path = keep(CHIP, TABLE)
    if fault == "open folder":
        path.parent.chmod(0o777)
    elif fault == "too long":
        monkeypatch.setattr(tuning_table, "MOST", 10)
    else:
        path.rename(tmp_path / "moved")
        if fault == "pipe":
            os.mkfifo(path)
        elif fault == "link":
            path.symlink_to(tmp_path / "moved")
        else:
            path.mkdir()
    forget()
    assert table_of(CHIP) == Table()
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith(f"rnnc: {path} is ignored: ")


def test_a_write_that_fails_leaves_the_old_file(monkeypatch: pytest.MonkeyPatch) -> None:
    path = keep(CHIP, TABLE)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tuning_table.os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        keep(CHIP, Table(tiers={"> 1:1 bytes=4": "grid"}))
    forget()
    assert table_of(CHIP) == TABLE
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_many_writers_leave_a_whole_file() -> None:
    tables = [Table(tiers={f"> {n}:1 bytes=4": "grid"}) for n in range(8)]
    threads = [threading.Thread(target=keep, args=(CHIP, table)) for table in tables]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    forget()
    assert table_of(CHIP).tiers


def test_a_tier_in_the_table_is_taken_and_said() -> None:
    plan, setting = planned(), Setting(H200, rows=20)
    (forward, backward) = [phase for phase in plan.phases if phase.kind == "loop"]
    assert choices_of(plan, setting)[forward.number].tier == "chip"
    with using(H200.name, Table(tiers={loop_key(plan, forward, setting): "graph"})):
        found = choices_of(plan, setting)
        assert found[forward.number].tier == "graph"
        assert dict(found[forward.number].refused) == {"chip": SLOWER, "grid": SLOWER}
        assert found[backward.number].tier == "chip"
        assert choices_of(plan, Setting(H200, rows=31))[forward.number].tier == "graph"
        assert choices_of(plan, Setting(H200, rows=33))[forward.number].tier == "chip"
        assert choices_of(plan, setting, "chip")[forward.number].tier == "chip", "forced"
    assert choices_of(plan, setting)[forward.number].tier == "chip"


def test_a_tiling_in_the_table_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuning_table, "chip_name", lambda index: CHIP)
    plan = planned()
    program = program_of(plan, Case(), choices_of(plan, Setting(H200), "graph"))
    kernels = [kernel for loop in program.loops.values() for kernel in loop]
    key = kernel_key(kernels[0], 4)
    assert tuned_tiling(kernels[0], 4, 0) is None
    with using(CHIP, Table({key: Tiling(16, 32, 32, 8)})):
        assert tuned_tiling(kernels[0], 4, 0) == Tiling(16, 32, 32, 8)
        assert tuned_tiling(kernels[0], 2, 0) is None
        assert tuned_tiling(kernels[0], 4, None) is None, "on the CPU, in the interpreter"


def test_questions_are_about_what_fits() -> None:
    plan, setting = planned(), Setting(H200, rows=20)
    for question in tier_questions(plan, setting):
        tiers = [table.tiers[question.key] for table in question.tables]
        assert "chip" not in tiers
        assert "graph" in tiers
    assert list(tile_questions(plan, setting)) == [], "all tiles are those of a tier on chip"
    loops = [phase for phase in plan.phases if phase.kind == "loop"]
    with using(H200.name, Table(tiers={loop_key(plan, p, setting): "graph" for p in loops})):
        tiles = list(tile_questions(plan, setting))
        program = program_of(plan, Case(), choices_of(plan, setting))
    assert tiles
    for question in tiles:
        for table in question.tables:
            tiling = table.tilings[question.key]
            sizes = (tiling.rows, tiling.columns, tiling.depth, tiling.warps)
            assert all(size > 0 and not size & (size - 1) for size in sizes)
    kernel = program.loops[loops[0].number][0]
    asked = next(q for q in tiles if q.key == kernel_key(kernel, 4))
    assert tiling_of(kernel, 4) not in [table.tilings[asked.key] for table in asked.tables]
