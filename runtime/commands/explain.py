"""Print the page of a diagnostic: what it means, an example, the mend."""

from __future__ import annotations

from difflib import get_close_matches
from importlib.resources import files

import click


@click.command()
@click.argument("code", metavar="CODE")
def command(code: str) -> None:
    """Print the page of a diagnostic's CODE, such as RNN203."""
    from rnnc.grammar.diagnostics.codes import CODES

    name = code.strip().upper()
    name = f"RNN{name}" if name.isdigit() else name
    if name not in CODES:
        near = get_close_matches(name, CODES, n=1)
        hint = f" Did you mean `{near[0]}`?" if near else ""
        raise click.BadParameter(f"there is no diagnostic `{code}`.{hint}", param_hint="CODE")
    click.echo(read_page(name) or f"{name}: {CODES[name]}")


def read_page(code: str) -> str:
    """Return the text of a diagnostic's page; empty if there is none."""
    file = files("rnnc").joinpath("errors", f"{code}.md")
    return file.read_text(encoding="utf-8").rstrip("\n") if file.is_file() else ""
