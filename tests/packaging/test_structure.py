"""The shape of the code: small folders, and no class name twice in the compiler."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

import pytest

from support.processes.commands import ROOT

PRODUCT = ("grammar", "operators", "compiler", "runtime")
MOST_MODULES = 14


def folders() -> list[Path]:
    return sorted({path.parent for top in PRODUCT for path in (ROOT / top).rglob("*.py")})


def classes(text: str) -> list[str]:
    return [node.name for node in ast.parse(text).body if isinstance(node, ast.ClassDef)]


@pytest.mark.parametrize("folder", folders(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_folder_is_small_and_says_what_it_holds(folder: Path) -> None:
    modules = [path for path in folder.glob("*.py") if path.name != "__init__.py"]
    assert len(modules) <= MOST_MODULES
    assert ast.get_docstring(ast.parse((folder / "__init__.py").read_text(encoding="utf-8")))


def test_no_class_name_stands_twice_in_the_compiler() -> None:
    texts = [path.read_text(encoding="utf-8") for path in (ROOT / "compiler").rglob("*.py")]
    count = Counter(name for text in texts for name in classes(text) if not name.startswith("_"))
    assert [name for name, times in count.items() if times > 1] == []


def test_the_top_level_holds_the_folders_of_the_project_alone() -> None:
    told = {"dist", "build", "runs"}
    found = {path.name for path in ROOT.iterdir() if path.is_dir() and path.name[0] not in "._"}
    assert found - told == {*PRODUCT, "tests", "docs"}
