"""Source text -> syntax tree, with every mistake reported and the rest of the file still read."""

from __future__ import annotations

import re
import threading
from functools import cache
from pathlib import Path
from typing import Final

from lark import Lark, TextSlice, Token
from lark.exceptions import UnexpectedCharacters, UnexpectedInput, UnexpectedToken

from . import syntax
from .diagnostics import Report
from .layout import Line, lay_out
from .source import Source, Span
from .statements import Statements
from .symbols import LOOK_ALIKES, RESERVED, canonical_name

_LOCK: Final = threading.Lock()
_WORD: Final = re.compile(r"[^\W\d_][\w₀-₉]*")


@cache
def _parser() -> tuple[Lark, Statements]:
    statements = Statements()
    grammar = Path(__file__).with_name("rnn.lark").read_text(encoding="utf-8")
    parser = Lark(
        grammar, parser="lalr", lexer="basic", transformer=statements, maybe_placeholders=False
    )
    return parser, statements


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
        for statement in variables:
            if isinstance(statement, syntax.For | syntax.If | syntax.Broken):
                continue
            report.error(
                "RNN113",
                "this statement belongs to no model",
                statement.span,
                "outside of every model",
                hint="indent it into the block of a `model`, or leave the `model` header out",
            )
        definitions = tuple(
            s
            for s in loose
            if isinstance(
                s, syntax.Operator | syntax.Instance | syntax.For | syntax.If | syntax.Broken
            )
        )
    elif variables:
        stem = source.path.stem if source.path else Path(source.name).stem
        name = "".join(c if c.isalnum() or c == "_" else "_" for c in stem).strip("_") or "model"
        models = (syntax.Model(name, (), loose, whole),)
    return syntax.File(uses, definitions, models, whole)


def _block(
    parser: Lark, statements: Statements, lines: list[Line], report: Report
) -> tuple[syntax.Statement, ...]:
    block: list[syntax.Statement] = []
    for line in lines:
        header = None if line.broken else _line(parser, statements, line, report)
        body = _block(parser, statements, line.block, report)
        statement = statements.close(header, body, block) if header else _broken(line)
        if statement is not None:
            block.append(statement)
    return tuple(block)


def _line(parser: Lark, statements: Statements, line: Line, report: Report) -> object | None:
    span = line.span
    try:
        statements.line = span
        return parser.parse(TextSlice(span.source.text, span.start, span.end))
    except UnexpectedInput as error:
        _explain(error, span, report)
        return None


def _broken(line: Line) -> syntax.Broken:
    names = frozenset(canonical_name(word) for word in _WORD.findall(line.span.text))
    return syntax.Broken(names, line.span)


def _explain(error: UnexpectedInput, span: Span, report: Report) -> None:
    """Report why a line cannot be read."""
    source = span.source
    if isinstance(error, UnexpectedCharacters):
        _character(source, error.pos_in_stream or span.start, report)
        return
    assert isinstance(error, UnexpectedToken)
    token: Token = error.token
    if token.type == "$END":
        _unfinished(span, report)
        return
    assert token.start_pos is not None
    assert token.end_pos is not None
    place = Span(source, token.start_pos, token.end_pos)
    before = source.text[span.start : place.start].rstrip()
    word = str(token)
    if before in RESERVED and word in {"=", "'", ":", ","}:
        place = Span(source, span.start, span.start + len(before))
        _reserved(place, report)
    elif word in RESERVED:
        _reserved(place, report)
    elif word in {")", "]", "}"} and before.count(word) >= before.count("([{"[")]}".index(word)]):
        report.error("RNN103", f"`{word}` closes nothing", place, "no bracket is open here")
    else:
        report.error(
            "RNN102",
            f"`{word}` cannot stand here",
            place,
            "not expected here",
            hint=_advice(before, word, span),
        )


def _advice(before: str, word: str, span: Span) -> str:
    text = span.text
    if word == "=" and "==" not in text and before.startswith("if"):
        return "a comparison is written `==`"
    if word == "," and before.rfind("[") > before.rfind("]"):
        return "the parts of a concatenation are separated by `;`: `[a ; b]`"
    if before.startswith("operator") and ":" in before:
        return "a definition on one line has `=`: `operator x ⊕ h = tanh(W h + U x + b)`"
    if word[0] in "▷◁△▽|</\\":
        return "an operator before another item needs parentheses: `W (▷ h)`"
    if word[0] in "0123456789" and before.endswith((".", "..")):
        return LOOK_ALIKES["."]
    if before.startswith("use"):
        return "write `use lstm, gru from gated`"
    if before.startswith("for"):
        return "write `for l in 1..layers:`"
    if before.startswith(("input", "state", "output")):
        return "write `state h: real[200]`, a name and a type"
    if before.startswith("else"):
        return "`else:` stands alone on its line; an `if` goes into its block"
    if word == ":" and "=" in before:
        return "an annotation stands left of the `=`: `z: real[400] = …`"
    return ""


def _character(source: Source, place: int, report: Report) -> None:
    character = source.text[place]
    span = Span(source, place, place + 1)
    shown = character if character.isprintable() and not character.isspace() else ascii(character)
    shown = shown.strip("'") if len(shown) > 1 else shown
    hint = LOOK_ALIKES.get(character, "")
    if character == ".":
        report.error("RNN106", "a number is cut off at its point", span, "here", hint=hint)
    elif character in "₀₁₂₃₄₅₆₇₈₉":
        report.error(
            "RNN102",
            f"the subscript `{character}` stands alone",
            span,
            hint="a subscript comes right behind the name, before a prime: `h₁'`",
        )
    elif hint:
        report.error("RNN115", f"`{shown}` is not a character of the language", span, hint=hint)
    else:
        report.error("RNN101", f"`{shown}` is not a character of the language", span)


def _unfinished(span: Span, report: Report) -> None:
    text = span.text
    end = Span(span.source, max(span.start, span.end - 1), span.end)
    first = text.split(None, 1)[0]
    if text in RESERVED and text not in {"else", "input", "state", "output", "model", "operator"}:
        _reserved(span, report)
        return
    hint = ""
    if first in {"model", "operator", "for", "if", "else"} and not text.endswith(":"):
        hint = "the header of a block ends in a colon"
        if first == "operator":
            hint = "write `operator x ⊕ h = …` on one line, or end the header in a colon"
    elif first in {"input", "state", "output"} and ":" not in text:
        hint = f"a declaration needs a type: `{text}: real[200]`"
    elif first == "param":
        hint = "write `param W: orthogonal`, a name and what is said of it"
    elif first == "law":
        hint = "a law has two sides: `law a ⊕ b ≈ b ⊕ a weight 0.1`"
    report.error("RNN102", "the line ends too early", end, "something is missing here", hint=hint)


def _reserved(span: Span, report: Report) -> None:
    report.error(
        "RNN108",
        f"`{span.text}` is a reserved word",
        span,
        "cannot be a name",
        hint=f"choose another name, such as `{span.text}_1`",
    )
