"""The README is run: its specs are checked, its commands and its Python carried out."""

from __future__ import annotations

import re
import shlex
import shutil
import sys
from pathlib import Path

import pytest

from support.processes.commands import ROOT, rnnc, run
from support.training.piano_rolls import small_data

README = (ROOT / "README.md").read_text()
SMALLER = {
    "adding": ["--epochs", "1", "--task-set", "train=40", "--task-set", "length=10"],
    "jsb": ["--epochs", "1"],
}
"""Appended to a training: the same command over less data."""


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def commands() -> list[str]:
    return [line for block in blocks("sh") for line in block.splitlines() if line.strip()]


@pytest.fixture
def clone(tmp_path: Path, root: Path) -> Path:
    shutil.copytree(root / "docs" / "examples", tmp_path / "docs" / "examples")
    return tmp_path


def test_every_command_is_rnnc_or_make() -> None:
    assert {shlex.split(line)[0] for line in commands()} == {"rnnc", "make"}


def test_what_make_does_is_run_by_the_continuous_integration(root: Path) -> None:
    steps = (root / ".ci" / "run").read_text().splitlines()
    for line in commands():
        if line.startswith("make"):
            assert line in steps


def test_the_commands_work(clone: Path) -> None:
    data = {"RNNC_DATA": str(small_data(clone / "data"))}
    for line in commands():
        name, *arguments = shlex.split(line)
        if name == "make":
            continue
        if "--task" in arguments:
            arguments += SMALLER[arguments[arguments.index("--task") + 1]]
        result = rnnc(*arguments, cwd=clone, env=data)
        assert result.returncode == 0, f"{line}\n{result.stderr.decode()}"


@pytest.mark.parametrize("spec", blocks("rnn"))
def test_the_specs_are_well(spec: str) -> None:
    result = rnnc("check", "-", stdin=spec.encode())
    assert result.returncode == 0, result.stderr.decode()
    assert not result.stderr


def test_the_python_works(clone: Path) -> None:
    (program,) = blocks("python")
    result = run([sys.executable, "-W", "error", "-c", program], cwd=clone)
    assert result.returncode == 0, result.stderr.decode()
    assert b"plus.Wi" in result.stdout


def test_the_specs_of_the_examples_are_well(root: Path) -> None:
    specs = sorted((root / "docs" / "examples").glob("*.rnn"))
    result = rnnc("check", *specs)
    assert result.returncode == 0, result.stderr.decode()
    assert not result.stderr
    assert len(result.stdout.splitlines()) == len(specs) >= 4
