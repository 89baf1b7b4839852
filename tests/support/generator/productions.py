"""Record the grammar rules and terminals of a text, through the parser's callbacks."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Any

from lark import Lark

import rnnc.grammar
from rnnc.grammar.diagnostics.report import Report
from rnnc.grammar.logical_lines import LogicalLine, split_logical_lines
from rnnc.grammar.parser import tokenize
from rnnc.grammar.source import Source, Span
from rnnc.grammar.symbols import SPELLINGS

GRAMMAR = Path(next(iter(rnnc.grammar.__path__))) / "rnn.lark"
IGNORED = frozenset({"BLANK", "COMMENT"})
"""Terminals that never reach the parser."""


@cache
def _parser() -> Lark:
    return Lark(
        GRAMMAR.read_text(encoding="utf-8"), parser="lalr", lexer="basic", maybe_placeholders=False
    )


def name_of(rule: Any) -> str:
    """Name a rule's alternative: `product: prefix`."""
    return f"{rule.origin.name}: {' '.join(symbol.name for symbol in rule.expansion)}"


def every_production() -> frozenset[str]:
    """Return all alternatives, terminals, spellings and types of the grammar."""
    parser = _parser()
    rules = {name_of(rule) for rule in parser.rules}
    terminals = {t.name for t in parser.terminals} - IGNORED
    spelt = {text for s in SPELLINGS for text in (s.unicode, s.ascii)}
    return frozenset(rules | terminals | spelt | {"real", "binary", "symbol"})


def productions(texts: Iterable[str]) -> frozenset[str]:
    """Return the productions in some texts."""
    parser, used = _parser(), set[str]()
    engine = parser.parser.parser.parser
    callbacks = dict(engine.callbacks)

    def noting(rule: Any, callback: Callable[..., Any]) -> Callable[..., Any]:
        def reduce(items: Any) -> Any:
            used.add(name_of(rule))
            return callback(items)

        return reduce

    try:
        engine.callbacks.update(
            {r: noting(r, c) for r, c in callbacks.items() if hasattr(r, "origin")}
        )
        for text in texts:
            source = Source(text)
            for line in _all(split_logical_lines(source, Report())):
                used |= _tokens(line.span)
                parser.parse(line.span.text)
    finally:
        engine.callbacks.update(callbacks)
    return frozenset(used)


def _tokens(line: Span) -> set[str]:
    used: set[str] = set()
    for token in tokenize(line):
        # `unscored` is lexed as a name, since it is a keyword only after a type.
        used.add("UNSCORED" if token == "unscored" else token.type)
        spelt = [s for p in SPELLINGS for s in (p.unicode, p.ascii) if token.startswith(s)]
        used |= {str(token)} | {max(spelt, key=len)} if spelt else {str(token)}
    return used


def _all(lines: list[LogicalLine]) -> list[LogicalLine]:
    return [item for line in lines for item in (line, *_all(line.block))]
