"""The documents name what is there: links lead somewhere, files exist, nothing is left out."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from support.processes.commands import ROOT, run

PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def links(page: Path) -> list[str]:
    prose = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    found = re.findall(r"\]\(([^)#\s]+)[^)]*\)", prose)
    return [link for link in found if "://" not in link]


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    assert [link for link in links(page) if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_files_that_are_named_exist(page: Path) -> None:
    named = re.findall(
        r"`((?:grammar|operators|compiler|runtime|tests|docs)/[\w/.]+)`", page.read_text()
    )
    assert [path for path in named if "NAME" not in path and not (ROOT / path).exists()] == []


def test_every_page_can_be_found_from_the_index() -> None:
    docs = ROOT / "docs"
    seen, new = set(), {docs / "index.md"}
    while new:
        page = new.pop()
        seen.add(page)
        new |= {(page.parent / link).resolve() for link in links(page) if link.endswith(".md")}
        new -= seen
    pages = {page for page in docs.rglob("*.md") if not page.name.startswith("RNN")}
    assert pages <= seen


def test_the_python_of_the_data_page_works(tmp_path: Path) -> None:
    from rnnc.runtime.data.piano_roll import read_rolls

    (program,) = re.findall(
        r"```python\n(.*?)```", (ROOT / "docs" / "data.md").read_text(), re.DOTALL
    )
    result: subprocess.CompletedProcess[bytes] = run([sys.executable, "-c", program], cwd=tmp_path)
    assert result.returncode == 0, result.stderr.decode()
    (roll,) = read_rolls(tmp_path / "jsb_chorales.npz", "train")
    assert roll.shape == (10, 88)
