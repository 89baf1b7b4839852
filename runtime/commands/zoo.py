"""List the models that ship with rnnc, or print one.

Each with its parameters and their defaults, its depths at those, and the paper it is from.
"""

from __future__ import annotations

from typing import Any

import click

from rnnc.runtime.options import json_option


@click.command("zoo")
@click.argument("name", required=False)
@json_option
def command(name: str | None, as_json: bool) -> None:
    """List the models that ship with rnnc, or print the one called NAME."""
    from rnnc.operators.sources.zoo import zoo_names, zoo_source
    from rnnc.runtime.print_diagnostics import print_json

    if name is not None:
        name = name.removeprefix("zoo:")
        source = zoo_source(name)
        if as_json:
            print_json({**_describe_model(name), "text": source.text})
        else:
            click.echo(source.text, nl=False)
        return
    models = [_describe_model(known) for known in zoo_names()]
    if as_json:
        print_json({"models": models})
        return
    for model in models:
        click.echo(f"zoo:{model['name']}")
        click.echo(f"  {model['summary']}")
        values = "  ".join(f"{key}={value}" for key, value in model["parameters"].items())
        click.echo(f"  parameters  {values}")
        depths = "  ".join(
            f"{key.replace('_', ' ')} {value}" for key, value in model["depth"].items()
        )
        click.echo(f"  depths      {depths}")


def _describe_model(name: str) -> dict[str, Any]:
    from rnnc.operators.analysis.summary import summarize
    from rnnc.operators.analyze import analyze, zoo_parameters
    from rnnc.operators.sources.zoo import zoo_description, zoo_source, zoo_summary

    summary = summarize(analyze(zoo_source(name)).require_graph())
    return {
        "name": name,
        "summary": zoo_summary(name),
        "about": zoo_description(name),
        "parameters": zoo_parameters(name),
        "weights": summary["parameters"]["weights"],
        "depth": summary["depth"],
    }
