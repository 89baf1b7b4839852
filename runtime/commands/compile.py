"""Compile a spec, and report what runs its phases."""

from __future__ import annotations

from typing import Any

import click

from rnnc.runtime.emit_stages import STAGES, backend_options, emit_stage
from rnnc.runtime.options import json_option, model_option, set_option
from rnnc.runtime.print_diagnostics import print_json


def _refuse_output(_: click.Context, __: click.Parameter, value: str | None) -> None:
    if value is not None:
        raise click.UsageError(
            "writing a model to a file is not available in this version: "
            "`-o model.py` was removed, and C, ONNX and pt2 are not there yet"
        )


@click.command()
@click.argument("file", metavar="FILE")
@set_option
@model_option
@backend_options
@click.option(
    "--require",
    type=click.Choice(["fused"]),
    help="Fail instead of falling back to the reference.",
)
@click.option("--emit", "stage", type=click.Choice(STAGES), help="Print one stage instead.")
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    callback=_refuse_output,
    expose_value=False,
    hidden=True,
    help="Not available in this version.",
)
@json_option
def command(
    file: str,
    parameters: dict[str, int | float],
    model: str | None,
    backend: str,
    memory: str,
    without: tuple[str, ...],
    require: str | None,
    stage: str | None,
    as_json: bool,
) -> None:
    """Compile FILE for this machine and report what runs it."""
    if stage is not None:
        options: dict[str, Any] = {"backend": backend, "memory": memory, "without": without}
        click.echo(emit_stage(file, stage, model, parameters, **options), nl=False)
        return
    report = compile_report(file, parameters, model, backend, memory, without, require)
    if as_json:
        print_json(report)
        return
    from rnnc.compiler.schedule.explain import describe

    click.echo(f"model {report['model']}, backend {report['backend']}")
    for name, reason in report["refused"].items():
        click.echo(f"not {name}: {reason}")
    if report["phases"]:
        click.echo("\n".join(describe(report)))
    click.echo(f"compiled in {report['seconds']:.2f} s")


def compile_report(
    file: str,
    parameters: dict[str, int | float],
    model: str | None,
    backend: str,
    memory: str,
    without: tuple[str, ...],
    require: str | None,
) -> dict[str, Any]:
    """Report the compiled model as plain JSON values: backend, phases, seconds."""
    import time

    import torch

    from rnnc.compiler.backends.backend import Options
    from rnnc.compiler.backends.registry import BACKENDS, Backends
    from rnnc.compiler.schedule.explain import explain
    from rnnc.runtime.load_graph import load_graph

    if backend not in ("auto", *BACKENDS):
        names = ", ".join(("auto", *BACKENDS))
        raise click.UsageError(f"there is no backend `{backend}` here; backends: {names}")
    graph = load_graph(file, model, parameters)
    start = time.perf_counter()
    options = Options(memory, frozenset(without))  # type: ignore[arg-type]
    backends = Backends(graph, backend, options, require)
    chosen = backends.choose(torch.empty(0))
    plan = chosen.plan()
    report: dict[str, Any] = {"phases": [], "hoisted": [], "saved": 0, "memory": memory}
    if plan is not None:
        report = explain(plan)
        for phase, entry in zip(plan.phases, report["phases"], strict=True):
            entry["backend"], entry["why"] = chosen.name, chosen.explain(phase)
    return {
        "model": graph.name,
        "backend": chosen.name,
        "refused": backends.skip_reasons(torch.empty(0)),
        "seconds": time.perf_counter() - start,
        **report,
    }
