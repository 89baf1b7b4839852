"""docs/export.md: its command is run, and its Python without rnnc."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from rnnc.runtime.cli import main
from support.blocks import blocks
from support.commands import ROOT
from support.imports import without


def test_the_page_does_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    console, python = blocks(ROOT / "docs" / "export.md")
    command, said = console.text.removeprefix("$ rnnc ").split("\n", 1)
    assert CliRunner().invoke(main, shlex.split(command)).output == said
    assert "# Forward, step by step: plus_1.Uz · h_1[t-1]; " in Path("gru.py").read_text("utf-8")
    program = f"import sys\nsys.path.insert(0, {str(tmp_path)!r})\n{python.text}"
    done = without({"rnnc"}, program)
    assert done.returncode == 0, done.stderr.decode()
