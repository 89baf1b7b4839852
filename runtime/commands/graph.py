"""Draw the operator graph of a model.

In the terminal as text; with `-o` as SVG, PDF, PNG, an interactive page, DOT or Mermaid.
"""

from __future__ import annotations

import sys
from pathlib import Path

import click

from rnnc.runtime.diagrams.model.annotations import DETAILS, Detail
from rnnc.runtime.diagrams.model.depth_paths import MEASURES
from rnnc.runtime.diagrams.model.diagram import LEVELS, Level
from rnnc.runtime.diagrams.model.unroll import MAX_STEPS
from rnnc.runtime.load_graph import load_graph_with_source
from rnnc.runtime.options import model_option, set_option


def _parse_details(ctx: click.Context, option: click.Parameter, value: str) -> tuple[Detail, ...]:
    parts = [part.strip() for part in value.split(",") if part.strip()]
    for part in parts:
        if part not in (*DETAILS, "none"):
            known = ", ".join(DETAILS)
            raise click.BadParameter(f"expected {known} or none, got `{part}`", ctx, option)
    return tuple(detail for detail in DETAILS if detail in parts)


@click.command()
@click.argument("file", metavar="FILE")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="Write a picture; the ending says which: .svg .pdf .png .html .dot .mmd .txt",
)
@click.option("--force", is_flag=True, help="Replace the output if it is already there.")
@click.option(
    "--level",
    type=click.Choice(LEVELS),
    default="layer",
    show_default=True,
    help="⊕ and ▷ as boxes; what they are made of; every operation; the compiled phases.",
)
@click.option(
    "--unroll",
    "steps",
    type=click.IntRange(0, MAX_STEPS),
    default=0,
    metavar="N",
    help="Lay N steps side by side.",
)
@click.option(
    "--show",
    "details",
    default="shapes",
    show_default=True,
    callback=_parse_details,
    metavar="LIST",
    help="Any of shapes, params, depth, with commas between; or none.",
)
@click.option(
    "--highlight",
    "measure",
    type=click.Choice(tuple(MEASURES)),
    help="Mark the path or cycle behind a depth measure, or every recurrence.",
)
@click.option("--ascii", "ascii_only", is_flag=True, help="Draw text with ASCII characters alone.")
@set_option
@model_option
def command(
    file: str,
    output: Path | None,
    force: bool,
    level: Level,
    steps: int,
    details: tuple[Detail, ...],
    measure: str | None,
    ascii_only: bool,
    parameters: dict[str, int | float],
    model: str | None,
) -> None:
    """Draw the operator graph of a model, as text or, with -o, as a picture."""
    from rnnc.runtime.diagrams.formats import format_for_path, render
    from rnnc.runtime.diagrams.levels.diagram_view import DiagramView
    from rnnc.runtime.diagrams.save import save_picture

    format_name = format_for_path(output) if output else "text"
    if level == "plan" and steps:
        raise click.UsageError("the plan is not unrolled: leave out --unroll or --level plan")
    graph, source = load_graph_with_source(file, model, parameters)
    view = DiagramView(level, steps, details, measure)
    if output is None:
        encoding = (getattr(sys.stdout, "encoding", None) or "utf-8").lower()
        plain = ascii_only or encoding.replace("_", "-") not in {"utf-8", "utf8"}
        picture = render(graph, source, format_name, view, ascii_only=plain)
        click.echo(picture.decode("utf-8"), nl=False)
        return
    save_picture(
        output, render(graph, source, format_name, view, ascii_only=ascii_only), force=force
    )
    click.echo(f"wrote {output}", err=True)
