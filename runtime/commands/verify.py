"""Check on this machine that a compiled model computes what it should."""

from __future__ import annotations

import click

from ..options import json_option, model_option, set_option
from ..report import print_json


@click.command()
@click.argument("file", metavar="FILE")
@set_option
@model_option
@json_option
def command(
    file: str, parameters: dict[str, int | float], model: str | None, as_json: bool
) -> None:
    """Check FILE: gradients in float64, every backend against the reference, parts against whole.

    Exit status 1 when something is off; the smallest case that shows it is printed.
    """
    from ...compiler.check import verify_graph
    from ..analysed import analysed

    findings = list(verify_graph(analysed(file, model, parameters)))
    failed = [finding for finding in findings if finding.status == "failed"]
    if as_json:
        print_json(
            {
                "ok": not failed,
                "checks": [
                    {"name": f.name, "status": f.status, "cases": f.cases, "detail": f.detail}
                    for f in findings
                ],
            }
        )
    else:
        for finding in findings:
            click.echo(f"{finding.status:>7}  {finding.name}: {finding.detail}")
    if failed:
        raise click.exceptions.Exit(1)
