"""Rewrite a spec in canonical layout and spelling, token by token.

Input: a parsable source; output: the same tokens and comments, verified to parse to an
equivalent tree.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from lark import Token

from rnnc.grammar.diagnostics.report import Report

from .formatter_spacing import StatementFormatter, classify_names
from .logical_lines import LogicalLine, split_logical_lines
from .parser import parse, tokenize
from .source import Source
from .syntax import is_equivalent

INDENT_WIDTH: Final = 4
MAX_BLANK_LINES: Final = 2
"""Maximal number of consecutive blank lines, as in PEP 8."""


def format_source(source: Source, *, ascii_only: bool = False) -> str:
    r"""Return a spec's text in canonical form, with `\n` line ends and one at the end.

    Blocks are indented by four spaces, comments and line breaks inside brackets stay, and at most
    two blank lines follow each other. `ascii_only` writes `(+)` for `⊕` and so on.

    Raises:
        RnnError: if the spec does not parse, since its meaning is unknown then.
    """
    report = Report()
    tree = parse(source, report)
    report.raise_if_errors()
    text = _SourceFormatter(source, ascii_only).format()
    formatted_tree = parse(Source(text, source.name, source.path), report)
    if report.has_errors or not is_equivalent(tree, formatted_tree):
        raise AssertionError(f"formatting would change the meaning of {source.name}")
    return text


@dataclass(slots=True)
class _StatementTokens:
    """Tokens of one statement, the text lines that it spans, and its nesting depth."""

    depth: int
    first: int
    last: int
    tokens: list[Token]
    formatter: StatementFormatter
    indices: list[int] = field(default_factory=list)


class _SourceFormatter:
    def __init__(self, source: Source, ascii_only: bool) -> None:
        self.source, self.ascii_only = source, ascii_only
        lines = list(_flatten_lines(split_logical_lines(source, Report()), 0))
        statements = [(line, depth, tokenize(line.span)) for line, depth in lines]
        name_roles = classify_names(tokens for _, _, tokens in statements)
        self.statements: dict[int, _StatementTokens] = {}
        self.depths: dict[int, tuple[int, int]] = {}
        for line, depth, tokens in statements:
            first = source.position(line.span.start)[0]
            last = source.position(max(line.span.start, line.span.end - 1))[0]
            row = _StatementTokens(
                depth,
                first,
                last,
                tokens,
                StatementFormatter(tokens, name_roles, ascii_only=ascii_only),
            )
            self.depths[first] = (len(line.indent.expandtabs(INDENT_WIDTH)), depth)
            for number in range(first, last + 1):
                self.statements[number] = row

    def format(self) -> str:
        lines: list[str] = []
        blank_lines = 0
        for number, line in enumerate(self.source.text.split("\n"), 1):
            code, _, comment = line.partition("#")
            note = _format_comment(comment) if "#" in line else ""
            if not code.strip() and not note:
                blank_lines += 1
                continue
            lines += [""] * min(blank_lines, MAX_BLANK_LINES)
            blank_lines = 0
            lines.append(self._format_line(number, code, note))
        return "\n".join(lines) + "\n" if lines else ""

    def _format_line(self, number: int, code_text: str, comment: str) -> str:
        row = self.statements.get(number)
        if row is None:
            return " " * (INDENT_WIDTH * self._comment_depth(number, code_text)) + comment
        body = row.formatter.format(self._token_range(number, row))
        depth = row.depth
        if number > row.first:
            closing = body[:1] in {")", "]", "}"}
            depth += 0 if closing else 1
        return (
            " " * (INDENT_WIDTH * depth) + body + ("  " + comment if body and comment else comment)
        ).rstrip()

    def _token_range(self, number: int, row: _StatementTokens) -> range:
        lines = [self.source.position(token.start_pos or 0)[0] for token in row.tokens]
        indices = [index for index, line in enumerate(lines) if line == number]
        return range(indices[0], indices[-1] + 1) if indices else range(0)

    def _comment_depth(self, number: int, code_text: str) -> int:
        """Return the depth of a comment line: that of the statement below it.

        At the end of a block the comment stays in the block that its indentation matches.
        """
        indent = len(code_text.expandtabs(INDENT_WIDTH))
        below = [n for n in self.depths if n > number]
        depth, width = 0, 0
        if below:
            width, depth = self.depths[min(below)]
        if indent <= width:
            return depth
        above = sorted((n for n in self.depths if n < number), reverse=True)
        for line in above:
            width, depth_above = self.depths[line]
            if depth_above <= depth:
                break
            if width <= indent:
                return depth_above
        return depth


def _flatten_lines(lines: Iterable[LogicalLine], depth: int) -> Iterator[tuple[LogicalLine, int]]:
    for line in lines:
        yield line, depth
        yield from _flatten_lines(line.block, depth + 1)


def _format_comment(text: str) -> str:
    text = text.rstrip()
    return f"#{text}" if not text or text[0] in " #!\t" else f"# {text}"
