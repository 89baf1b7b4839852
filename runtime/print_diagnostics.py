"""Print diagnostics: text on standard error, or one JSON document on standard output."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable
from typing import Final

import click

from rnnc.grammar.diagnostics.diagnostic import Diagnostic
from rnnc.grammar.diagnostics.render import ansi_style, plain_style, render_json, render_text

MAX_DIAGNOSTICS: Final = 100
"""Most diagnostics of a file shown as text; nobody reads more at once."""


def print_json(document: object) -> None:
    """Print one JSON document, escaped to ASCII if the stream is not UTF-8."""
    encoding = (getattr(sys.stdout, "encoding", None) or "").lower().replace("_", "-")
    click.echo(json.dumps(document, indent=2, ensure_ascii=encoding not in {"utf-8", "utf8"}))


def print_diagnostics(diagnostics: Iterable[Diagnostic], *, as_json: bool = False) -> None:
    """Print diagnostics as text on standard error, or as JSON on standard output."""
    if as_json:
        print_json(render_json(diagnostics))
        return
    style = ansi_style if supports_color() else plain_style
    shown_diagnostics = list(diagnostics)
    texts = [render_text(diagnostic, style) for diagnostic in shown_diagnostics[:MAX_DIAGNOSTICS]]
    if len(shown_diagnostics) > MAX_DIAGNOSTICS:
        texts.append(f"… and {len(shown_diagnostics) - MAX_DIAGNOSTICS:,} more, which --json lists")
    if text := "\n\n".join(texts):
        click.echo(text, err=True, color=True)


def supports_color() -> bool:
    """Test that standard error is a terminal with colors and NO_COLOR is unset."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    return sys.stderr is not None and sys.stderr.isatty()


def format_count(number: int, noun: str) -> str:
    """Format a number with its noun: `1 model`, `75,488 parameters`."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")
