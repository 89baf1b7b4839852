"""`rnnc graph`: output, files, and errors."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from rnnc.operators.sources.zoo import zoo_names
from rnnc.runtime.cli import main
from rnnc.runtime.diagrams.layout.graphviz_layout import run_graphviz
from rnnc.runtime.diagrams.render.svg import to_svg
from support.diagrams import draw_diagram, zoo_graph
from support.processes.blocked_imports import run_with_only, run_without
from support.processes.commands import rnnc as process

RUNNER = CliRunner()


def rnnc(*arguments: str | Path) -> Result:
    return RUNNER.invoke(main, ["graph", *map(str, arguments)])


@pytest.mark.parametrize("ending", ["svg", "pdf", "png", "html", "dot", "gv", "mmd", "txt"])
def test_each_ending_writes_its_format_once(tmp_path: Path, ending: str) -> None:
    picture = tmp_path / f"model.{ending}"
    assert rnnc("zoo:dts_rnn", "-o", picture).exit_code == 0
    written = picture.read_bytes()
    heads = {
        "svg": b"<svg",
        "pdf": b"%PDF",
        "png": b"\x89PNG",
        "html": b"<!doctype html>",
        "dot": b"digraph",
        "gv": b"digraph",
        "mmd": b"flowchart",
        "txt": b"dts_rnn",
    }
    assert written.startswith(heads[ending])
    again = rnnc("zoo:srnn", "-o", picture)
    assert again.exit_code == 1
    assert "RNN652" in again.stderr
    assert "--force" in again.stderr
    assert picture.read_bytes() == written
    assert rnnc("zoo:srnn", "-o", picture, "--force").exit_code == 0
    assert picture.read_bytes() != written
    assert [path.name for path in tmp_path.iterdir()] == [picture.name]


@pytest.mark.parametrize("name", ["model", "model.jpeg", "model."])
def test_an_unknown_ending_lists_the_known_ones(tmp_path: Path, name: str) -> None:
    result = rnnc("zoo:rnn", "-o", tmp_path / name)
    assert result.exit_code == 1
    assert "RNN651" in result.stderr
    assert ".svg" in result.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("where", ["missing/model.svg", "folder.svg"])
def test_what_cannot_be_written_is_said(tmp_path: Path, where: str) -> None:
    (tmp_path / "folder.svg").mkdir()
    result = rnnc("zoo:rnn", "-o", tmp_path / where, "--force")
    assert result.exit_code == 1
    assert "RNN605" in result.stderr
    assert ("there is no folder" in result.stderr) == where.startswith("missing")
    assert [path.name for path in tmp_path.iterdir()] == ["folder.svg"]


def test_a_link_to_nowhere_is_not_followed_over_something(tmp_path: Path) -> None:
    picture = tmp_path / "model.dot"
    os.symlink(tmp_path / "elsewhere", picture)
    assert rnnc("zoo:rnn", "-o", picture).exit_code == 1
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ["--level", "block"],
        ["--unroll", "-1"],
        ["--unroll", "99"],
        ["--show", "colours"],
        ["--highlight", "width"],
        ["--level", "plan", "--unroll", "2"],
    ],
)
def test_wrong_options_are_wrong_usage(arguments: list[str]) -> None:
    assert rnnc("zoo:rnn", *arguments).exit_code == 2


def test_text_goes_to_a_terminal_that_has_ascii_alone() -> None:
    result = process("graph", "zoo:srnn", env={"PYTHONIOENCODING": "latin-1"})
    assert result.returncode == 0
    assert result.stdout.isascii()
    assert rnnc("zoo:srnn", "--ascii").output.isascii()


def test_details_and_marks_reach_the_drawing() -> None:
    shown = rnnc("zoo:dts_rnn", "--show", "params,depth").output
    assert "160,000" in shown
    assert "recurrent depth 2" in shown
    assert "160,000" not in rnnc("zoo:dts_rnn", "--show", "none").output


def test_without_pygraphviz_text_formats_work_and_the_rest_says_what_to_install(
    tmp_path: Path,
) -> None:
    program = f"""
from rnnc.operators.sources.zoo import zoo_names
from rnnc.runtime.cli import main
from rnnc.runtime.diagrams.layout.graphviz_layout import compute_layout
from rnnc.runtime.diagrams.render.svg import to_svg
for ending in ("txt", "dot", "mmd", "svg", "pdf", "png", "html"):
    try:
        main(["graph", "zoo:dts_rnn", "-o", {str(tmp_path)!r} + "/model." + ending])
    except SystemExit as end:
        assert end.code == (ending in ("svg", "pdf", "png", "html")), (ending, end.code)
"""
    result = run_without(["pygraphviz"], program)
    assert result.returncode == 0, result.stderr.decode()
    assert result.stderr.count(b"RNN650") == 4
    assert result.stderr.count(b"pip install 'rnnc[draw]'") == 4
    assert len(list(tmp_path.iterdir())) == 3


def test_no_format_or_level_imports_torch_or_numpy(tmp_path: Path) -> None:
    program = f"""
import sys
from rnnc.operators.sources.zoo import zoo_names
from rnnc.runtime.cli import main
from rnnc.runtime.diagrams.layout.graphviz_layout import compute_layout
from rnnc.runtime.diagrams.render.svg import to_svg
calls = [["--level", level] for level in ("operator", "layer", "primitive", "plan")]
calls += [["-o", {str(tmp_path)!r} + "/m." + e] for e in ("svg", "html", "pdf", "dot")]
for call in calls:
    try:
        main(["graph", "zoo:lstm", *call])
    except SystemExit as end:
        assert not end.code, call
assert not {{"torch", "numpy"}} & set(sys.modules)
"""
    allowed = ["click", "lark", "pygraphviz"]
    result = run_with_only(allowed, program)
    assert result.returncode == 0, result.stderr.decode()


@pytest.mark.parametrize("name", zoo_names())
def test_a_model_of_the_zoo_is_drawn_in_half_a_second(name: str) -> None:
    graph = zoo_graph(name)
    run_graphviz.cache_clear()
    start = time.process_time()
    to_svg(draw_diagram(graph))
    assert time.process_time() - start < 0.5


def test_forty_layers_are_drawn_in_seconds(tmp_path: Path) -> None:
    start = time.process_time()
    drawn = rnnc("zoo:srnn", "--set", "layers=40", "-o", tmp_path / "tall.svg")
    assert drawn.exit_code == 0
    assert time.process_time() - start < 5
    assert sys.getsizeof((tmp_path / "tall.svg").read_bytes()) < 2**20
