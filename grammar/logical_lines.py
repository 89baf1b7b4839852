"""Split a source into logical lines, nested into blocks by indentation.

Follows Python's line structure (Language Reference, 2.1): a line goes on inside open brackets.
Input: a source; output: a forest of `LogicalLine`. An error ends with its line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from rnnc.grammar.diagnostics.diagnostic import Label
from rnnc.grammar.diagnostics.report import Report

from .source import Source, Span

NESTING_LIMIT = 100
"""Maximal nesting of brackets, and of blocks; Python's own parser stops at 100 indentations."""

_STATEMENT_START = re.compile(
    r"\s*(?:input|state|output|operator|model|use|param|law|loss|for|if|else)(?!\w)"
)
_OPENING_BRACKETS = {")": "(", "]": "[", "}": "{"}


@dataclass(slots=True)
class LogicalLine:
    """Logical line, over several text lines inside brackets, with its indented block.

    `has_error` lines are reported and not parsed; `is_misindented` lines are reported and parsed.
    """

    span: Span
    indent: str
    has_error: bool = False
    is_misindented: bool = False
    block: list[LogicalLine] = field(default_factory=list)


def split_logical_lines(source: Source, report: Report) -> list[LogicalLine]:
    """Return the top-level lines of a source, each with its indented block.

    Reports unclosed brackets (RNN103), inconsistent indentation (RNN104), mixed tabs and spaces
    (RNN105) and too deep nesting (RNN107).
    """
    return _nest_blocks(list(_scan_logical_lines(source, report)), report)


def _physical_lines(source: Source) -> Iterator[tuple[int, int]]:
    """Yield start and end of each line's code, without comments and trailing blanks."""
    start = 0
    for text in source.text.split("\n"):
        code = text.split("#", 1)[0].rstrip(" \t\f\v")
        yield start, start + len(code)
        start += len(text) + 1


def _scan_logical_lines(source: Source, report: Report) -> Iterator[LogicalLine]:
    lines = [(s, e) for s, e in _physical_lines(source) if source.text[s:e].strip()]
    index = 0
    while index < len(lines):
        start, end = lines[index]
        code = source.text[start:end]
        indent = code[: len(code) - len(code.lstrip(" \t"))]
        last, unclosed, too_deep = _find_last_line(source.text, lines, index)
        span = Span(source, start + len(indent), lines[last][1])
        line = LogicalLine(span, indent)
        if too_deep is not None:
            report.error(
                "RNN107",
                f"brackets are nested more than {NESTING_LIMIT} deep",
                Span(source, too_deep, too_deep + 1),
                "one too many",
                hint="name the inner parts as locals: `z = …`",
            )
            line.has_error = True
        elif unclosed is not None:
            bracket = source.text[unclosed]
            report.error(
                "RNN103",
                f"`{bracket}` is never closed",
                Span(source, unclosed, unclosed + 1),
                "opened here",
                hint=f"a line goes on only inside brackets; add the missing "
                f"`{'])}'['[({'.index(bracket)]}`",
            )
            line.has_error = True
        yield line
        index = last + 1


def _find_last_line(
    text: str, lines: list[tuple[int, int]], first: int
) -> tuple[int, int | None, int | None]:
    """Return the index of the last physical line of the logical line at `first`.

    Also the offset of an unclosed bracket and that of a bracket nested too deep, None without one.
    """
    open_brackets: list[int] = []
    for index in range(first, len(lines)):
        start, end = lines[index]
        if index > first and _STATEMENT_START.match(text, start, end):
            return first, open_brackets[-1], None
        for offset in range(start, end):
            character = text[offset]
            if character in "([{":
                open_brackets.append(offset)
                if len(open_brackets) > NESTING_LIMIT:
                    return index, None, offset
            elif character in ")]}" and open_brackets:
                if text[open_brackets[-1]] != _OPENING_BRACKETS[character]:
                    return index, None, None  # the parser reports the mismatched bracket
                open_brackets.pop()
        if not open_brackets:
            return index, None, None
    return first, open_brackets[0], None


def _nest_blocks(lines: list[LogicalLine], report: Report) -> list[LogicalLine]:
    top_level: list[LogicalLine] = []
    stack: list[tuple[str, list[LogicalLine]]] = []
    first_indent: LogicalLine | None = None
    reported_indents: dict[int, set[str]] = {}
    for line in lines:
        if line.indent:
            first_indent = first_indent or line
            if set(line.indent) != {first_indent.indent[0]}:
                report.error(
                    "RNN105",
                    "tabs and spaces are mixed in the indentation",
                    line.span,
                    "this line is indented differently",
                    hint="use four spaces a level, and no tabs",
                    related=(Label(first_indent.span, "than this one"),)
                    if first_indent is not line
                    else (),
                )
                line.indent = line.indent.expandtabs(4)
        if not stack:
            stack.append((line.indent, top_level))
        while len(stack) > 1 and len(line.indent) < len(stack[-1][0]):
            stack.pop()
        indent, block = stack[-1]
        if len(line.indent) > len(indent) and block:
            if len(stack) > NESTING_LIMIT:
                if not block[-1].block:
                    report.error(
                        "RNN107",
                        f"blocks are nested more than {NESTING_LIMIT} deep",
                        line.span,
                        hint="move inner blocks into operators",
                    )
                line.has_error = True
                block[-1].block.append(line)  # deeper lines land here as well, unreported
                continue
            block = block[-1].block
            if block:
                _report_misindented(line, block, reported_indents, report)
            stack.append((block[0].indent if block else line.indent, block))
        elif line.indent != indent:
            _report_misindented(line, block, reported_indents, report)
        block.append(line)
    return top_level


def _report_misindented(
    line: LogicalLine,
    block: list[LogicalLine],
    reported_indents: dict[int, set[str]],
    report: Report,
) -> None:
    """Report a line not aligned with its block; once for each indentation in a block."""
    reported = reported_indents.setdefault(id(block), set())
    if line.indent in reported:
        return
    reported.add(line.indent)
    line.is_misindented = True
    report.error(
        "RNN104",
        "this line fits no indentation above it",
        line.span,
        f"indented by {len(line.indent)}, the block by {len(block[0].indent)}",
        hint="align it with the other lines of its block",
    )
