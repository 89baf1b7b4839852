"""Print the operator graph."""

from __future__ import annotations

import click

from ..analysed import analysed
from ..options import model_option, set_option


@click.command()
@click.argument("file", metavar="FILE")
@set_option
@model_option
def command(file: str, parameters: dict[str, int | float], model: str | None) -> None:
    """Print the operator graph of a model as text, one node a line with its delays."""
    click.echo(analysed(file, model, parameters).to_text())
