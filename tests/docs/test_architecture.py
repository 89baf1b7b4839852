"""The map of the code names every file; where a table is of one folder, by its last name."""

from __future__ import annotations

import pytest

from support.processes.commands import ROOT

MAP = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
ALIKE = ("compiler/passes", "runtime/commands", "runtime/tasks", "runtime/metrics")
"""Folders whose files are all of one kind, named as a whole."""
OWN_TABLE = ("compiler/backends/aten", "compiler/backends/cpu", "compiler/backends/cuda")


def files() -> list[str]:
    found = []
    for folder in ("grammar", "operators", "compiler", "runtime"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            if path.name != "__init__.py":
                found.append(path.relative_to(ROOT).as_posix())
    return found


def is_on_the_map(file: str, text: str) -> bool:
    folder, _, name = file.rpartition("/")
    if folder in ALIKE:
        return f"`{folder}`" in text
    if folder in OWN_TABLE:
        _, _, table = text.partition(f"in `{folder}`, in the order of its work")
        return f"`{name}`" in table.partition("\n\n")[2].partition("\n\n")[0]
    return f"`{file}`" in text


@pytest.mark.parametrize("file", files())
def test_a_file_is_on_the_map(file: str) -> None:
    assert is_on_the_map(file, MAP)


@pytest.mark.parametrize("file", ["grammar/new.py", "compiler/backends/cpu/new.py"])
def test_a_file_that_is_not_is_missed(file: str) -> None:
    assert not is_on_the_map(file, MAP)
