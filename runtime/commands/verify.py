"""Check on this machine that a compiled model computes what it should."""

from __future__ import annotations

import shlex
import sys
from typing import TYPE_CHECKING

import click

from rnnc.runtime.options import json_option, model_option, set_option
from rnnc.runtime.print_diagnostics import print_json

if TYPE_CHECKING:
    from rnnc.compiler.conformance.cases import Case
    from rnnc.compiler.conformance.report import Finding
    from rnnc.compiler.conformance.subject import ExecutionTarget

BACKEND_NAMES = ("auto", "reference", "aten", "cpu", "cuda")


def _parse_case(ctx: click.Context, option: click.Parameter, value: str | None) -> Case | None:
    from rnnc.compiler.conformance.cases import parse_case

    try:
        return None if value is None else parse_case(value)
    except ValueError as error:
        raise click.BadParameter(str(error).removeprefix("case: "), ctx, option) from None


@click.command()
@click.argument("file", metavar="FILE")
@click.option(
    "--backend",
    "backends",
    type=click.Choice(BACKEND_NAMES),
    multiple=True,
    help="Check this one, and no others that are not named so; may be repeated.",
)
@click.option(
    "--seconds",
    type=click.FloatRange(0, min_open=True),
    default=10.0,
    show_default=True,
    help="CPU seconds that all checks may take.",
)
@click.option(
    "--case",
    metavar="CASE",
    callback=_parse_case,
    help="One kind of call alone, as a report writes it: T=3,B=2,lengths,resets,carry.",
)
@set_option
@model_option
@json_option
def command(
    file: str,
    backends: tuple[str, ...],
    seconds: float,
    case: Case | None,
    parameters: dict[str, int | float],
    model: str | None,
    as_json: bool,
) -> None:
    """Check FILE with random weights, in float64 and float32, on every backend of this machine.

    Each backend is held against the reference, and against itself step by step, in parts, and with
    each row alone; the reference's gradients against finite differences. Exit status 1 when
    something is off: the smallest case that shows it is printed, and a command that runs it again.
    """
    from rnnc.compiler.conformance.budget import cpu_seconds

    start = cpu_seconds()
    from rnnc.compiler.conformance.cases import CASES
    from rnnc.compiler.conformance.verify import Verification
    from rnnc.runtime.load_graph import load_graph

    bound = [word for name, value in parameters.items() for word in ("--set", f"{name}={value}")]
    command_words = ["rnnc", "verify", file, *bound, *(["--model", model] if model else [])]

    def show(place: ExecutionTarget, case: Case) -> str:
        return shlex.join([*command_words, "--backend", place.backend, "--case", str(case)])

    def begin(name: str) -> None:
        if not as_json:
            click.echo(f"{name} … ", nl=False)
            sys.stdout.flush()

    def end(finding: Finding) -> None:
        if not as_json:
            click.echo("\n".join([finding.verdict, *finding.detail_lines]))

    verification = Verification(
        load_graph(file, model, parameters),
        backends=backends,
        cases=CASES if case is None else (case,),
        seconds=seconds,
        since=start,
    )
    report = verification.run(begin, end, show)
    if as_json:
        print_json(report.document())
    else:
        click.echo(report.summary)
    if not report.ok:
        raise click.exceptions.Exit(1)
