"""Every block of the manual is checked, and its tables are those of the catalogue."""

from __future__ import annotations

import pytest

from rnnc.grammar.diagnostics.codes import CODES
from rnnc.grammar.formatter import format_source
from rnnc.grammar.source import Source
from rnnc.operators.analyze import check
from rnnc.operators.semantics.primitives import PRIMITIVES
from support.pages.fenced_blocks import fenced_blocks
from support.pages.manual_tables import MANUAL, fill_tables

SPECS = [block for block in fenced_blocks(MANUAL) if block.language == "rnn"]


@pytest.mark.parametrize("block", SPECS, ids=lambda block: f"line-{block.line}")
def test_a_block_is_sound_or_fails_with_the_code_that_it_names(block):
    found = [diagnostic.code for diagnostic in check(Source(block.text, "spec.rnn"))]
    assert found == ([block.info] if block.info else [])


@pytest.mark.parametrize("block", SPECS, ids=lambda block: f"line-{block.line}")
def test_a_block_keeps_its_meaning_when_formatted(block):
    text = format_source(Source(block.text, "spec.rnn"))
    found = [diagnostic.code for diagnostic in check(Source(text, "spec.rnn"))]
    assert found == ([block.info] if block.info else [])


def test_failing_blocks_name_codes():
    marked = {block.info for block in SPECS if block.info}
    assert marked
    assert marked <= set(CODES)


def test_the_tables_are_those_of_the_catalogue():
    text = MANUAL.read_text(encoding="utf-8")
    assert fill_tables(text) == text, "run: python -m support.pages.manual_tables in tests/"
    assert all(f"`{function.signature}`" in text for function in PRIMITIVES)


def test_an_outdated_table_would_be_seen():
    text = MANUAL.read_text(encoding="utf-8").replace("`tanh(z)`", "`tanhh(z)`")
    assert fill_tables(text) != text
