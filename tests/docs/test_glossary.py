"""The glossary: one row a term, no cell empty, and every type of the IR and of the plan in it."""

from __future__ import annotations

import ast
import re
from collections import Counter
from pathlib import Path

import pytest

from support.processes.commands import ROOT

GLOSSARY = ROOT / "docs" / "glossary.md"
HEAD = ["| term | meaning | source |", "| --- | --- | --- |"]
TYPE_FILES = [
    *sorted((ROOT / "compiler" / "ir").glob("*.py")),
    ROOT / "compiler" / "schedule" / "plan.py",
]


def rows(text: str) -> list[list[str]]:
    """The cells of each row of the one table."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert lines[:2] == HEAD
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def public_classes(path: Path) -> list[str]:
    body = ast.parse(path.read_text(encoding="utf-8")).body
    return [n.name for n in body if isinstance(n, ast.ClassDef) and not n.name.startswith("_")]


def repeated_terms(text: str) -> list[str]:
    count = Counter(cells[0].casefold() for cells in rows(text))
    return [term for term, times in count.items() if times > 1]


def incomplete_rows(text: str) -> list[list[str]]:
    return [cells for cells in rows(text) if len(cells) != 3 or not all(cells)]


def missing_types(text: str, paths: list[Path]) -> list[str]:
    mentioned = set(re.findall(r"`(\w+)`", "\n".join(cells[1] for cells in rows(text))))
    return [name for path in paths for name in public_classes(path) if name not in mentioned]


@pytest.fixture(scope="module")
def text() -> str:
    return GLOSSARY.read_text(encoding="utf-8")


def test_a_term_stands_once(text):
    assert repeated_terms(text) == []


def test_every_row_has_a_term_a_meaning_and_a_source(text):
    assert incomplete_rows(text) == []


def test_terms_are_in_alphabetical_order(text):
    terms = [cells[0].casefold() for cells in rows(text)]
    assert terms == sorted(terms)


def test_every_type_of_the_ir_and_the_plan_is_explained(text):
    assert missing_types(text, TYPE_FILES) == []


def italics(page: str) -> set[str]:
    """The words that a page sets in italics, code left out."""
    prose = re.sub(r"^```.*?^```$|`[^`]*`", "", page, flags=re.DOTALL | re.MULTILINE)
    found = re.findall(r"(?<!\*)\*([^*\s][^*]*)\*(?!\*)", prose)
    return {" ".join(word.split()).casefold() for word in found} - {"italics"}


def test_words_in_italics_of_the_architecture_page_are_terms(text):
    words = italics((ROOT / "docs" / "architecture.md").read_text(encoding="utf-8"))
    terms = {cells[0].casefold() for cells in rows(text)}
    assert [word for word in words if not {word, word.removesuffix("s")} & terms] == []
    assert len(words) > 10


def test_slips_would_be_seen(text, tmp_path):
    row = "| scan | again | rnnc |\n"
    assert repeated_terms(text + row) == ["scan"]
    assert incomplete_rows(text + "| a word | | rnnc |\n| two | cells |\n") == [
        ["a word", "", "rnnc"],
        ["two", "cells"],
    ]
    module = tmp_path / "module.py"
    module.write_text("class Novelty: ...\nclass _Own: ...\n")
    assert missing_types(text, [module]) == ["Novelty"]
