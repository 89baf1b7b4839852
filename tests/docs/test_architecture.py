"""The map of the code names every file of the language and of the diagrams."""

from __future__ import annotations

import pytest

from support.commands import ROOT

FILES = [
    f"{folder}/{path.name}"
    for folder in ("grammar", "operators", "runtime/diagrams")
    for path in sorted((ROOT / folder).glob("*.py"))
    if path.name != "__init__.py"
]


@pytest.mark.parametrize("file", FILES)
def test_a_file_is_on_the_map(file):
    assert f"`{file}`" in (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
