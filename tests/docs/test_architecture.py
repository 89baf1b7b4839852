"""The worked example of the architecture page is what each stage prints."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from rnnc.compiler.backends.backend import Options
from rnnc.compiler.backends.cpu.backend import CpuBackend
from rnnc.compiler.backends.cpu.specialize.compiled_program import compile_program
from rnnc.compiler.request import training_request
from rnnc.runtime.cli import main
from rnnc.runtime.load_graph import load_graph
from support.pages.fenced_blocks import FencedBlock, fenced_blocks
from support.processes.commands import ROOT

BLOCKS = fenced_blocks(ROOT / "docs" / "architecture.md")
(SPEC,) = [block for block in BLOCKS if block.language == "rnn"]
STAGES = [block for block in BLOCKS if block.language == "console"]
(KERNEL,) = [block for block in BLOCKS if block.language == "c"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / SPEC.info).write_text(SPEC.text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def assert_excerpt(shown: str, printed: str) -> None:
    """Compare an excerpt with the whole; a line with nothing but `…` stands for any lines."""
    lines, start = printed.splitlines(), 0
    for index, part in enumerate(shown.strip("\n").replace("…\n", "…").split("…")):
        wanted = part.splitlines()
        ends = [
            at + len(wanted)
            for at in range(start, len(lines) - len(wanted) + 1)
            if lines[at : at + len(wanted)] == wanted and (index or not at)
        ]
        assert ends, f"not printed, or not there:\n{part}"
        start = ends[0]


def command_and_output(block: FencedBlock) -> tuple[list[str], str]:
    command, _, shown = block.text.removeprefix("$ ").partition("\n")
    program, *arguments = shlex.split(command)
    assert program == "rnnc"
    return arguments, shown


@pytest.mark.parametrize("block", STAGES, ids=lambda block: f"line-{block.line}")
def test_a_stage_prints_what_the_page_shows(block, folder):
    arguments, shown = command_and_output(block)
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    assert_excerpt(shown, result.output)


def test_the_kernel_is_what_is_generated(folder):
    backend = CpuBackend(load_graph(SPEC.info, None, {}), Options())
    gradients = training_request(backend.graph).gradients
    request = backend.make_request(training=True, gradients=gradients)
    program = compile_program(backend.graph, request, double=False, isa="avx512")
    assert_excerpt("…\n" + KERNEL.text, program.model_source)


def test_all_stages_are_shown():
    shown = [command_and_output(block)[0][-1] for block in STAGES]
    assert shown == ["syntax", "graph", "adjoint", "plan"]


@pytest.mark.parametrize("shown", ["b\n", "a\nc\n", "a\n…\nb\nd\n", "…\nc\n…\nb\n"])
def test_an_excerpt_that_is_not_there_would_be_seen(shown):
    with pytest.raises(AssertionError, match="not printed"):
        assert_excerpt(shown, "a\nb\nc\n")


@pytest.mark.parametrize("shown", ["a\nb\n", "…\nb\n…\n", "a\n…\nc\n"])
def test_an_excerpt_that_is_there_passes(shown):
    assert_excerpt(shown, "a\nb\nc\n")
