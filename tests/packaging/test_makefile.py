"""The Makefile where it can be tried without installing anything."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from support.processes.commands import run


@pytest.fixture
def clone(tmp_path: Path, root: Path) -> Path:
    for name in ["Makefile", "pyproject.toml", "constraints.txt"]:
        shutil.copy(root / name, tmp_path)
    return tmp_path


def test_make_alone_lists_the_targets(clone: Path) -> None:
    result = run(["make"], cwd=clone)
    assert result.returncode == 0
    targets = [line.split()[1] for line in result.stdout.decode().splitlines()]
    assert {"demo", "test", "check", "clean", "help"} <= set(targets)


@pytest.mark.parametrize("python", ["", "false", "/no/such/python"])
def test_a_missing_or_old_python_is_one_line(clone: Path, python: str) -> None:
    result = run(["make", f"PYTHON={python}", "install"], cwd=clone)
    assert result.returncode == 2
    first, *_ = result.stderr.decode().splitlines()
    assert first == "rnnc needs Python >= 3.11; name one: make PYTHON=/path/to/python"
    assert not (clone / ".venv").exists()


def test_an_install_that_fails_is_not_taken_for_done(clone: Path) -> None:
    (clone / "pyproject.toml").write_text("[")
    for _ in range(2):
        result = run(["make", f"PYTHON={sys.executable}", "install"], cwd=clone)
        assert result.returncode == 2
        assert (clone / ".venv").exists()
        assert not (clone / ".venv" / ".installed").exists()
