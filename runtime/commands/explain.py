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

    wanted = code.strip().upper()
    wanted = f"RNN{wanted}" if wanted.isdigit() else wanted
    if wanted not in CODES:
        near = get_close_matches(wanted, CODES, n=1)
        hint = f" Did you mean `{near[0]}`?" if near else ""
        raise click.BadParameter(f"there is no diagnostic `{code}`.{hint}", param_hint="CODE")
    click.echo(read_page(wanted) or f"{wanted}: {CODES[wanted]}")


def read_page(code: str) -> str:
    """The text of a diagnostic's page, or nothing where none was written."""
    file = files("rnnc").joinpath("errors", f"{code}.md")
    return file.read_text(encoding="utf-8").rstrip("\n") if file.is_file() else ""
