"""Source text -> syntax tree, with every mistake reported and the rest of the file still read."""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Final

from lark import Lark, TextSlice, Token
from lark.exceptions import UnexpectedInput

from rnnc.grammar.diagnostics.report import Report

from . import syntax
from .logical_lines import Line, lay_out
from .source import Source, Span
from .statement_builder import Header, Statements
from .symbols import SPELLINGS, canonical_name, canonical_symbol

_LOCK: Final = threading.Lock()
_GRAMMAR: Final = Path(__file__).with_name("rnn.lark")
_SYMBOL: Final = re.compile(
    f"(?:{'|'.join(re.escape(text) for s in SPELLINGS for text in (s.unicode, s.ascii))})"
    r"(?:[₀-₉]+|_\w+)?"
)
_WORD: Final = re.compile(r"[^\W\d_][\w₀-₉]*")


@cache
def _parser() -> tuple[Lark, Statements]:
    statements = Statements()
    parser = Lark(
        _GRAMMAR.read_text(encoding="utf-8"),
        parser="lalr",
        lexer="basic",
        transformer=statements,
        maybe_placeholders=False,
    )
    return parser, statements


@cache
def _lexer() -> Lark:
    # A parser builds its lexer anew each time that it is asked for tokens; this one keeps its own.
    return Lark(_GRAMMAR.read_text(encoding="utf-8"), parser=None, lexer="basic")


def parse(source: Source, report: Report) -> syntax.File:
    """The syntax tree of a source; lines that cannot be read become `syntax.Broken`."""
    lines = lay_out(source, report)
    with _LOCK:
        parser, statements = _parser()
        statements.begin(source, report)
        body = _block(parser, statements, lines, report)
    uses = tuple(s for s in body if isinstance(s, syntax.Use))
    models = tuple(s for s in body if isinstance(s, syntax.Model))
    loose = tuple(s for s in body if not isinstance(s, syntax.Use | syntax.Model))
    definitions: tuple[syntax.Definitions, ...] = tuple(
        s for s in loose if isinstance(s, syntax.Operator | syntax.Instance)
    )
    whole = Span(source, 0, len(source.text))
    variables = [s for s in loose if not isinstance(s, syntax.Operator | syntax.Instance)]
    if models:
        _homeless(variables, models, report)
        models = tuple(m for m in models if not _is_lost(m))
        definitions = tuple(
            s
            for s in loose
            if isinstance(
                s, syntax.Operator | syntax.Instance | syntax.For | syntax.If | syntax.Broken
            )
        )
    elif not all(isinstance(statement, syntax.Broken) for statement in variables):
        stem = source.path.stem if source.path else Path(source.name).stem
        name = "".join(c if c.isalnum() or c == "_" else "_" for c in stem).strip("_") or "model"
        models = (syntax.Model(name, (), loose, whole),)
    return syntax.File(uses, definitions, models, whole)


def tokens_of(span: Span) -> list[Token]:
    """The tokens of one logical line that can be parsed, comments and blanks left out."""
    text = span.source.text
    with _LOCK:
        tokens = list(_lexer().lex(TextSlice(text, span.start, span.end)))
    # It is written as a name is, also where it is a word.
    return [t.update(type="NAME") if t.type == "UNSCORED" else t for t in tokens]


def _homeless(
    statements: Sequence[syntax.Statement], models: tuple[syntax.Model, ...], report: Report
) -> None:
    """Report the first statement outside of every model; the others are the same mistake."""
    odd = [s for s in statements if not isinstance(s, syntax.For | syntax.If | syntax.Broken)]
    if odd and not any(_is_lost(model) for model in models):
        more = f", and {len(odd) - 1} more" if len(odd) > 1 else ""
        report.error(
            "RNN113",
            f"this statement belongs to no model{more}",
            odd[0].span,
            "outside of every model",
            hint="indent it into the block of a `model`, or leave the `model` header out",
        )


def _is_lost(model: syntax.Model) -> bool:
    """Whether nothing of a model's block could be read, which has been reported."""
    return all(isinstance(statement, syntax.Broken) for statement in model.body)


def _block(
    parser: Lark,
    statements: Statements,
    lines: list[Line],
    report: Report,
    *,
    quiet: bool = False,
) -> tuple[syntax.Statement, ...]:
    """The statements of a block.

    It is `quiet` about lines that go on with one that could not be read: they are its rest.
    """
    block: list[syntax.Statement] = []
    for line in lines:
        text = line.span.text
        is_rest = bool(block) and isinstance(block[-1], syntax.Broken) and text[0] in ")]},"
        silent = quiet or is_rest or line.misplaced
        header = None if line.broken else _line(parser, statements, line, silent=silent)
        is_cut = header is None and not line.broken and text[-1] != ":"
        body = _block(parser, statements, line.block, report, quiet=quiet or is_cut)
        statement = statements.close(header, body, block) if header else _broken(line)
        if isinstance(statement, syntax.Broken):
            names = frozenset().union(statement.names, *map(_words, line.block))
            statement = syntax.Broken(names, statement.span, _operators(line))
        if statement is not None:
            block.append(statement)
        if not isinstance(header, Header | None):
            block += body  # indented by mistake, which has been reported
    return tuple(block)


def _line(parser: Lark, statements: Statements, line: Line, *, silent: bool) -> object | None:
    span = line.span
    statements.line = span
    told = statements.report, statements.mistakes
    if silent:
        statements.begin(span.source, Report())
    try:
        return parser.parse(TextSlice(span.source.text, span.start, span.end))
    except UnexpectedInput as error:
        statements.mistakes.explain(error, span)
        return None
    finally:
        statements.report, statements.mistakes = told


def _broken(line: Line) -> syntax.Broken:
    return syntax.Broken(_words(line), line.span)


def _operators(line: Line) -> frozenset[str]:
    """What a line that begins with `operator` or `use` may define, computed subscripts apart."""
    first, _, rest = line.span.text.partition(" ")
    if first == "use":
        return frozenset(map(canonical_name, _WORD.findall(rest)))
    if first != "operator":
        return frozenset()
    header = re.split("[=:]", rest)[0]
    symbols = {canonical_symbol(symbol) for symbol in _SYMBOL.findall(header)}
    stems = {symbol[0] for symbol in symbols if "_" in symbol and not symbol[-1].isdecimal()}
    return frozenset(symbols | stems or set(map(canonical_name, _WORD.findall(header)[:1])))


def _words(line: Line) -> frozenset[str]:
    """The names in a line and its block; of a subscripted one also what stands before it."""
    own = {canonical_name(word) for word in _WORD.findall(line.span.text)}
    return frozenset().union(own, {name.split("_")[0] for name in own}, *map(_words, line.block))
