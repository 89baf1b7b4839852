"""Report every error in specs, or say that they are well."""

from __future__ import annotations

import click

from ...grammar.diagnostics import Diagnostic, RnnError
from ...grammar.source import Source
from ...operators.reading import read_spec
from ..options import json_option, model_option, set_option
from ..report import count, print_diagnostics


@click.command("check")
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@set_option
@model_option
@json_option
def command(
    files: tuple[str, ...], parameters: dict[str, int | float], model: str | None, as_json: bool
) -> None:
    """Parse specs, resolve their names and infer their shapes; report every error found."""
    from ...operators.analyse import check

    found: list[Diagnostic] = []
    for file in files:
        try:
            source = read_spec(file)
            diagnostics = check(source, model=model, parameters=parameters)
        except RnnError as error:
            found += error.diagnostics
            if not as_json:
                print_diagnostics(error.diagnostics)
            continue
        found += diagnostics
        if not as_json:
            print_diagnostics(diagnostics)
            errors = sum(diagnostic.severity == "error" for diagnostic in diagnostics)
            if errors:
                click.echo(f"{source.name}: {count(errors, 'error')}", err=True)
            else:
                click.echo(f"{source.name}: ok — {_contents(source, model, parameters)}")
    if as_json:
        print_diagnostics(found, as_json=True)
    if any(diagnostic.severity == "error" for diagnostic in found):
        raise click.exceptions.Exit(1)


def _contents(source: Source, model: str | None, parameters: dict[str, int | float]) -> str:
    from ...operators.analyse import analyse
    from ...operators.summary import summarise

    graph = analyse(source, model=model, parameters=parameters).graph
    if graph is None:
        return "several models"
    total: int = summarise(graph)["parameters"]["total"]
    return f"1 model, {count(total, 'parameter')}"
