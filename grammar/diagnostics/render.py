"""Rendering of diagnostics as text for terminals and as JSON for tools."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable

from .diagnostic import Diagnostic, Label

Style = Callable[[str, str], str]
"""(role, text) -> text; roles: error, warning, note, place, caret, related, hint."""

MAX_LINE_WIDTH = 160


def plain_style(role: str, text: str) -> str:
    """Return text without colors."""
    return text


ANSI_COLORS = {
    "error": "\x1b[1;31m",
    "warning": "\x1b[1;33m",
    "note": "\x1b[1;36m",
    "place": "\x1b[1m",
    "caret": "\x1b[31m",
    "related": "\x1b[36m",
    "hint": "\x1b[32m",
}


def ansi_style(role: str, text: str) -> str:
    """Return text in the ANSI colors of its role."""
    return f"{ANSI_COLORS[role]}{text}\x1b[0m" if text else text


def display_width(text: str) -> int:
    """Count the terminal cells of a text: wide characters take two, combining ones none."""
    return sum(_character_width(character) for character in text)


def _character_width(character: str) -> int:
    if unicodedata.combining(character) or unicodedata.category(character) in {"Mn", "Me", "Cf"}:
        return 0
    return 2 if unicodedata.east_asian_width(character) in {"W", "F"} else 1


def _replace_control_characters(text: str) -> str:
    """Replace tabs by four blanks and unprintable characters by `�`."""
    text = text.replace("\t", "    ")
    return "".join("�" if unicodedata.category(c) in {"Cc", "Co", "Cs"} else c for c in text)


def render_text(diagnostic: Diagnostic, style: Style = plain_style) -> str:
    """Render one diagnostic for a terminal: location, message, source lines, hint."""
    location = str(diagnostic.span) if diagnostic.span else diagnostic.file
    prefix = style("place", location + ": ") if location else ""
    severity = style(diagnostic.severity, f"{diagnostic.severity}[{diagnostic.code}]")
    lines = [f"{prefix}{severity}: {diagnostic.message}"]
    labels = ([diagnostic.label] if diagnostic.label else []) + list(diagnostic.related)
    numbers = [label.span.source.position(label.span.start)[0] for label in labels]
    width = max((len(str(number)) for number in numbers), default=1)
    for index, label in enumerate(labels):
        if index and label.span.source is not labels[0].span.source:
            lines.append(f"  {' ' * width} {style('place', f'in {label.span.source.name}')}")
        lines += _render_excerpt(label, width, style, primary=index == 0)
    if diagnostic.hint:
        first, *further_lines = diagnostic.hint.splitlines()
        lines.append(f"  {style('hint', 'hint')}: {first}")
        lines += [f"        {line}" for line in further_lines]
    return "\n".join(lines)


def _render_excerpt(label: Label, width: int, style: Style, *, primary: bool) -> list[str]:
    source = label.span.source
    number, column = source.position(label.span.start)
    text = source.line(number)
    length = max(1, min(label.span.end - label.span.start, len(text) - column + 1))
    start = max(0, column - 1 - MAX_LINE_WIDTH // 2) if len(text) > MAX_LINE_WIDTH else 0
    window = text[start : start + MAX_LINE_WIDTH]
    before = text[start : column - 1]
    highlighted = window[column - 1 - start : column - 1 - start + length]
    left_ellipsis = "…" if start else ""
    right_ellipsis = "…" if start + MAX_LINE_WIDTH < len(text) else ""
    width_before = display_width(_replace_control_characters(before)) + len(left_ellipsis)
    marker_width = max(1, display_width(_replace_control_characters(highlighted)))
    marker = f"{('^' if primary else '-') * marker_width} {label.text}".rstrip()
    pointer = " " * width_before + style("caret" if primary else "related", marker)
    excerpt = f"{left_ellipsis}{_replace_control_characters(window)}{right_ellipsis}"
    return [
        f"  {number:>{width}} | {excerpt}".rstrip(),
        f"  {' ' * width} | {pointer}",
    ]


def render_json(diagnostics: Iterable[Diagnostic]) -> dict[str, list[dict[str, object]]]:
    """Convert diagnostics to one JSON document; lines and columns count from 1, in characters."""
    return {"diagnostics": [_diagnostic_json(diagnostic) for diagnostic in diagnostics]}


def _diagnostic_json(diagnostic: Diagnostic) -> dict[str, object]:
    span = diagnostic.span
    line, column = span.source.position(span.start) if span else (None, None)
    end_line, end_column = span.source.position(span.end) if span else (None, None)
    return {
        "code": diagnostic.code,
        "severity": diagnostic.severity,
        "message": diagnostic.message,
        "hint": diagnostic.hint or None,
        "file": diagnostic.file or None,
        "line": line,
        "column": column,
        "end_line": end_line,
        "end_column": end_column,
    }
