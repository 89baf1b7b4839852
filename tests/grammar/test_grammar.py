"""The grammar itself: nothing in it is ambiguous, and every terminal has a name."""

from __future__ import annotations

import pytest
from lark import Lark
from lark.exceptions import GrammarError

from support.processes.commands import ROOT

GRAMMAR = (ROOT / "grammar" / "rnn.lark").read_text(encoding="utf-8")


def strict(grammar: str) -> Lark:
    """Without a word about shift or reduce, or about terminals that match the same text."""
    return Lark(grammar, parser="lalr", lexer="basic", strict=True)


def test_the_grammar_is_strict_lalr() -> None:
    strict(GRAMMAR)
    with pytest.raises(GrammarError, match="collision"):
        strict(GRAMMAR.replace("run: item+", "run: item+ run?"))


def test_every_terminal_has_a_name_of_its_own() -> None:
    def named(grammar: str) -> bool:
        return not [t.name for t in strict(grammar).terminals if t.name.startswith("__")]

    assert named(GRAMMAR)
    assert not named(GRAMMAR.replace("name PRIME ", 'name "``" ', 1))
