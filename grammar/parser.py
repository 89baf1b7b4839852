"""Parse a source into a syntax tree, line by line, with an LALR(1) grammar (rnn.lark).

A line that does not parse becomes an `ErrorStatement`; the lines after it are still parsed.
"""

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
from .logical_lines import LogicalLine, split_logical_lines
from .source import Source, Span
from .statement_builder import BlockHeader, StatementBuilder
from .symbols import SPELLINGS, canonical_name, canonical_symbol

_PARSER_LOCK: Final = threading.Lock()
_GRAMMAR_PATH: Final = Path(__file__).with_name("rnn.lark")
_SYMBOL_PATTERN: Final = re.compile(
    f"(?:{'|'.join(re.escape(text) for s in SPELLINGS for text in (s.unicode, s.ascii))})"
    r"(?:[₀-₉]+|_\w+)?"
)
_NAME_PATTERN: Final = re.compile(r"[^\W\d_][\w₀-₉]*")


@cache
def _load_parser() -> tuple[Lark, StatementBuilder]:
    statements = StatementBuilder()
    parser = Lark(
        _GRAMMAR_PATH.read_text(encoding="utf-8"),
        parser="lalr",
        lexer="basic",
        transformer=statements,
        maybe_placeholders=False,
    )
    return parser, statements


@cache
def _load_lexer() -> Lark:
    # Lark.lex of a parser builds its lexer on every call; a Lark without parser keeps it.
    return Lark(_GRAMMAR_PATH.read_text(encoding="utf-8"), parser=None, lexer="basic")


def parse(source: Source, report: Report) -> syntax.File:
    """Return the syntax tree of a source; unreadable lines become `syntax.ErrorStatement`."""
    lines = split_logical_lines(source, report)
    with _PARSER_LOCK:
        parser, statements = _load_parser()
        statements.set_source(source, report)
        body = _parse_block(parser, statements, lines, report)
    uses = tuple(s for s in body if isinstance(s, syntax.Use))
    models = tuple(s for s in body if isinstance(s, syntax.Model))
    top_level = tuple(s for s in body if not isinstance(s, syntax.Use | syntax.Model))
    definitions: tuple[syntax.DefinitionStatement, ...] = tuple(
        s for s in top_level if isinstance(s, syntax.Operator | syntax.Instance)
    )
    file_span = Span(source, 0, len(source.text))
    variables = [s for s in top_level if not isinstance(s, syntax.Operator | syntax.Instance)]
    if models:
        _report_outside_models(variables, models, report)
        models = tuple(m for m in models if not _is_unreadable(m))
        definitions = tuple(
            s
            for s in top_level
            if isinstance(
                s,
                syntax.Operator | syntax.Instance | syntax.For | syntax.If | syntax.ErrorStatement,
            )
        )
    elif not all(isinstance(statement, syntax.ErrorStatement) for statement in variables):
        stem = source.path.stem if source.path else Path(source.name).stem
        name = "".join(c if c.isalnum() or c == "_" else "_" for c in stem).strip("_") or "model"
        models = (syntax.Model(name, (), top_level, file_span),)
    return syntax.File(uses, definitions, models, file_span)


def tokenize(span: Span) -> list[Token]:
    """Return the tokens of one parsable logical line, without comments and blanks."""
    text = span.source.text
    with _PARSER_LOCK:
        tokens = list(_load_lexer().lex(TextSlice(text, span.start, span.end)))
    # The formatter writes the keyword `unscored` as it writes names.
    return [t.update(type="NAME") if t.type == "UNSCORED" else t for t in tokens]


def _report_outside_models(
    statements: Sequence[syntax.Statement], models: tuple[syntax.Model, ...], report: Report
) -> None:
    """Report the first statement outside every model, and count the others."""
    misplaced = [
        s for s in statements if not isinstance(s, syntax.For | syntax.If | syntax.ErrorStatement)
    ]
    if misplaced and not any(_is_unreadable(model) for model in models):
        count = f", and {len(misplaced) - 1} more" if len(misplaced) > 1 else ""
        report.error(
            "RNN113",
            f"this statement belongs to no model{count}",
            misplaced[0].span,
            "outside of every model",
            hint="indent it into the block of a `model`, or leave the `model` header out",
        )


def _is_unreadable(model: syntax.Model) -> bool:
    """Return true if no line of a model's block parsed, which has been reported."""
    return all(isinstance(statement, syntax.ErrorStatement) for statement in model.body)


def _parse_block(
    parser: Lark,
    statements: StatementBuilder,
    lines: list[LogicalLine],
    report: Report,
    *,
    suppress_errors: bool = False,
) -> tuple[syntax.Statement, ...]:
    """Parse the lines of a block into statements.

    suppress_errors: report nothing, since the lines continue one that did not parse.
    """
    block: list[syntax.Statement] = []
    for line in lines:
        text = line.span.text
        continues_error = (
            bool(block) and isinstance(block[-1], syntax.ErrorStatement) and text[0] in ")]},"
        )
        is_silent = suppress_errors or continues_error or line.is_misindented
        header = (
            None
            if line.has_error
            else _parse_line(parser, statements, line, suppress_errors=is_silent)
        )
        is_truncated = header is None and not line.has_error and text[-1] != ":"
        nested = _parse_block(
            parser, statements, line.block, report, suppress_errors=suppress_errors or is_truncated
        )
        statement = (
            statements.close_block(header, nested, block) if header else _error_statement(line)
        )
        if isinstance(statement, syntax.ErrorStatement):
            names = frozenset().union(statement.names, *map(_names_in_line, line.block))
            statement = syntax.ErrorStatement(names, statement.span, _possible_definitions(line))
        if statement is not None:
            block.append(statement)
        if not isinstance(header, BlockHeader | None):
            block += nested  # lines indented by mistake, already reported
    return tuple(block)


def _parse_line(
    parser: Lark, statements: StatementBuilder, line: LogicalLine, *, suppress_errors: bool
) -> object | None:
    span = line.span
    statements.line = span
    outer_reporters = statements.report, statements.syntax_errors
    if suppress_errors:
        statements.set_source(span.source, Report())
    try:
        return parser.parse(TextSlice(span.source.text, span.start, span.end))
    except UnexpectedInput as error:
        statements.syntax_errors.report_unexpected(error, span)
        return None
    finally:
        statements.report, statements.syntax_errors = outer_reporters


def _error_statement(line: LogicalLine) -> syntax.ErrorStatement:
    return syntax.ErrorStatement(_names_in_line(line), line.span)


def _possible_definitions(line: LogicalLine) -> frozenset[str]:
    """Return the operators that an unreadable `operator` or `use` line may define."""
    keyword, _, remainder = line.span.text.partition(" ")
    if keyword == "use":
        return frozenset(map(canonical_name, _NAME_PATTERN.findall(remainder)))
    if keyword != "operator":
        return frozenset()
    header = re.split("[=:]", remainder)[0]
    symbols = {canonical_symbol(symbol) for symbol in _SYMBOL_PATTERN.findall(header)}
    stems = {symbol[0] for symbol in symbols if "_" in symbol and not symbol[-1].isdecimal()}
    return frozenset(symbols | stems or set(map(canonical_name, _NAME_PATTERN.findall(header)[:1])))


def _names_in_line(line: LogicalLine) -> frozenset[str]:
    """Return the names in a line and its block, and the stems of subscripted ones."""
    names = {canonical_name(word) for word in _NAME_PATTERN.findall(line.span.text)}
    return frozenset().union(
        names, {name.split("_")[0] for name in names}, *map(_names_in_line, line.block)
    )
