"""The automaton that ships is the grammar's, and reads lines as lark itself does."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lark import Lark, Tree
from lark.exceptions import GrammarError, UnexpectedCharacters, UnexpectedInput, UnexpectedToken

from rnnc.grammar import automaton
from rnnc.grammar import table as tables
from rnnc.grammar.automaton import Unreadable
from rnnc.grammar.table import COMPILED, GRAMMAR, Table, compiled, table, written
from support.commands import ROOT

GRAMMAR_TEXT = GRAMMAR.read_text(encoding="utf-8")
LINES = sorted(
    {
        line.strip()
        for folder in ("operators/zoo", "operators/library", "tests/grammar")
        for path in (ROOT / folder).iterdir()
        if path.suffix in {".rnn", ".txt"}
        for line in path.read_text(encoding="utf-8").splitlines()
        if line.strip()
    }
)
WORDS = sorted({word for line in LINES for word in line.split()})


class Trees:
    """Actions that build a tree: (rule, children)."""

    def __getattr__(self, name: str) -> Any:
        return lambda items: (name, items)


@cache
def lark() -> Lark:
    return Lark(GRAMMAR_TEXT, parser="lalr", lexer="basic", maybe_placeholders=False)


def plain(tree: object) -> object:
    """A tree of lark as `Trees` builds it."""
    if isinstance(tree, Tree):
        return str(tree.data), [plain(child) for child in tree.children]
    return str(tree)


def by_lark(line: str) -> object:
    try:
        return plain(lark().parse(line))
    except UnexpectedCharacters as error:
        return "no token", error.pos_in_stream
    except UnexpectedToken as error:
        if error.token.type == "$END":
            return "too early"
        return "unexpected", error.token.start_pos, error.token.type
    except UnexpectedInput as error:  # lark has no others
        raise AssertionError from error


def by_table(line: str) -> object:
    try:
        return automaton.parse(line, 0, len(line), Trees())
    except Unreadable as error:
        if error.token is None:
            return "no token", error.place
        if error.token.type == automaton.END:
            return "too early"
        return "unexpected", error.place, error.token.type


def test_what_ships_is_compiled_from_the_grammar() -> None:
    made = written(compiled(GRAMMAR.read_bytes()))
    assert COMPILED.read_text(encoding="utf-8") == made, "run `make table`"
    assert table() == compiled(GRAMMAR.read_bytes())


def test_the_grammar_is_strict() -> None:
    Lark(GRAMMAR_TEXT, parser="lalr", lexer="basic", strict=True)
    ambiguous = GRAMMAR_TEXT.replace("?run: item+", "?run: item+ run?")
    with pytest.raises(GrammarError, match="collision"):
        Lark(ambiguous, parser="lalr", lexer="basic", strict=True)


@pytest.mark.parametrize("found", ["{}", "[", '{"grammar": "another"}', None])
def test_another_grammar_is_compiled_on_the_spot(
    found: str | None, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "rnn.json"
    if found is not None:
        path.write_text(found)
    monkeypatch.setattr(tables, "COMPILED", path)
    assert tables.table.__wrapped__() == table()


@pytest.mark.parametrize("part", range(8))
def test_lines_are_read_as_lark_reads_them(part: int) -> None:
    for line in LINES[part::8]:
        assert by_table(line) == by_lark(line), line


@given(st.lists(st.sampled_from(WORDS), min_size=1, max_size=9).map(" ".join))
def test_any_words_are_read_as_lark_reads_them(line: str) -> None:
    assert by_table(line) == by_lark(line)


@given(st.text(max_size=12))
def test_any_text_is_read_as_lark_reads_it(line: str) -> None:
    if line.strip():
        assert by_table(line) == by_lark(line)


def test_a_wrong_step_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    right = table()
    steps = json.loads(json.dumps(right.steps))
    state, symbol = next(
        (s, name)
        for s, row in enumerate(steps)
        for name in row
        if name == "PLUS" and row[name] >= 0
    )
    steps[state]["MINUS"] = steps[state].pop(symbol)
    wrong: Table = replace(right, steps=tuple(steps))
    monkeypatch.setattr(automaton, "table", lambda: wrong)
    assert any(by_table(line) != by_lark(line) for line in LINES)
