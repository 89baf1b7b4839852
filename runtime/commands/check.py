"""Report every error in specs, or say that they are well."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from rnnc.grammar.diagnostics.diagnostic import Diagnostic
from rnnc.grammar.diagnostics.errors import RnnError
from rnnc.operators.sources.spec_file import read_spec
from rnnc.runtime.options import json_option, model_option, set_option
from rnnc.runtime.print_diagnostics import format_count, print_diagnostics

if TYPE_CHECKING:
    from rnnc.operators.graph.operator_graph import OperatorGraph


@click.command()
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@set_option
@model_option
@json_option
def command(
    files: tuple[str, ...], parameters: dict[str, int | float], model: str | None, as_json: bool
) -> None:
    """Parse specs, resolve their names and infer their shapes; report every error found."""
    from rnnc.operators.analyze import check_models

    all_diagnostics: list[Diagnostic] = []
    for file in files:
        name = "<stdin>" if file == "-" else file
        graphs: tuple[OperatorGraph, ...] = ()
        try:
            graphs, diagnostics = check_models(read_spec(file), model=model, parameters=parameters)
        except RnnError as error:
            diagnostics = error.diagnostics
        all_diagnostics += diagnostics
        if not as_json:
            print_diagnostics(diagnostics)
            errors = _count_errors(diagnostics)
            if errors:
                click.echo(f"{name}: {format_count(errors, 'error')}", err=True)
            else:
                click.echo(f"{name}: ok — {_describe_contents(graphs)}")
    if as_json:
        print_diagnostics(all_diagnostics, as_json=True)
    if _count_errors(all_diagnostics):
        raise click.exceptions.Exit(1)


def _count_errors(diagnostics: Sequence[Diagnostic]) -> int:
    return sum(diagnostic.severity == "error" for diagnostic in diagnostics)


def _describe_contents(graphs: Sequence[OperatorGraph]) -> str:
    """Describe the models in a file and their parameter counts."""
    sizes = [
        format_count(sum(parameter.numel for parameter in graph.parameters), "parameter")
        for graph in graphs
    ]
    if not graphs:
        return "definitions, and no model"
    if len(graphs) == 1:
        return f"1 model, {sizes[0]}"
    named = [f"{graph.name} with {size}" for graph, size in zip(graphs, sizes, strict=True)]
    return f"{len(graphs)} models: {', '.join(named)}"
