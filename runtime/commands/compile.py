"""Compile a spec: report what runs its phases, or write a Python module."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ...grammar.diagnostics import fail
from ..options import json_option, model_option, set_option
from ..report import print_json
from ..stages import STAGES, backend_options, emit


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
    type=click.Path(path_type=Path),
    metavar="MODULE.py",
    help="Write a module that runs without rnnc, with its C beside it, instead.",
)
@click.option(
    "--vectors",
    type=click.Choice(["avx512", "avx2", "plain"]),
    help="What the C of --output is laid out for  [default: this machine]",
)
@click.option("--force", is_flag=True, help="Replace the files of --output if they are there.")
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
    output: Path | None,
    vectors: str | None,
    force: bool,
    as_json: bool,
) -> None:
    """Compile FILE for this machine and report what runs it.

    With `-o model.py` write a Python module instead, and its kernels as model.c beside it. It needs
    torch and a C compiler, takes the same state_dict as `rnnc.compile`, and gives the same bits as
    the backend `cpu`. No compiler is needed to write it.
    """
    if output is not None:
        if stage is not None:
            raise click.UsageError("--emit prints, and --output writes: give one of them")
        if backend not in ("auto", "cpu"):
            raise click.UsageError(
                "--output writes what the backend `cpu` runs: leave --backend out"
            )
        written = _exported(file, parameters, model, memory, without, output, vectors, force)
        if as_json:
            print_json({"written": [str(path) for path in written]})
        else:
            click.echo(f"wrote {written[0]} and {written[1]}", err=True)
        return
    if stage is not None:
        chosen: dict[str, Any] = {"backend": backend, "memory": memory, "without": without}
        click.echo(emit(file, stage, model, parameters, **chosen), nl=False)
        return
    report = compiled(file, parameters, model, backend, memory, without, require)
    if as_json:
        print_json(report)
        return
    from ...compiler.explain import describe

    click.echo(f"model {report['model']}, backend {report['backend']}")
    for name, reason in report["refused"].items():
        click.echo(f"not {name}: {reason}")
    if report["phases"]:
        click.echo("\n".join(describe(report)))
    click.echo(f"compiled in {report['seconds']:.2f} s")


def _exported(
    file: str,
    parameters: dict[str, int | float],
    model: str | None,
    memory: str,
    without: tuple[str, ...],
    output: Path,
    vectors: str | None,
    force: bool,
) -> tuple[Path, Path]:
    """Write a model as a module; the files that were written."""
    from ...operators.analyse import analyse
    from ...operators.reading import read_spec
    from ..exported import module_name, write

    name = module_name(output)
    analysis = analyse(read_spec(file), model=model, parameters=parameters)
    graph = analysis.require()
    assert analysis.program is not None

    from ...compiler.backends.backend import Options
    from ...compiler.backends.cpu.toolchain import machine_level
    from ...compiler.export.text import export
    from ...compiler.lower import Unsupported

    options = Options(memory, frozenset(without))  # type: ignore[arg-type]
    level: Any = vectors or machine_level()
    try:
        texts = export(graph, analysis.program, options, level, name)
    except Unsupported as error:
        fail("RNN501", f"backend `cpu` cannot run `{graph.name}`: {error}")
    return write(output, texts, force=force)


def compiled(
    file: str,
    parameters: dict[str, int | float],
    model: str | None,
    backend: str,
    memory: str,
    without: tuple[str, ...],
    require: str | None,
) -> dict[str, Any]:
    """What a model was compiled to, as plain JSON values."""
    import time

    import torch

    from ...compiler.backends.backend import Options
    from ...compiler.backends.registry import BACKENDS, Backends
    from ...compiler.explain import explain
    from ..analysed import analysed

    if backend not in ("auto", *BACKENDS):
        known = ", ".join(("auto", *BACKENDS))
        raise click.UsageError(f"there is no backend `{backend}` here; backends: {known}")
    graph = analysed(file, model, parameters)
    start = time.perf_counter()
    options = Options(memory, frozenset(without))  # type: ignore[arg-type]
    backends = Backends(graph, backend, options, require)
    chosen = backends.choose(torch.empty(0))
    plan = chosen.plan()
    report: dict[str, Any] = {"phases": [], "hoisted": [], "saved": 0, "memory": memory}
    if plan is not None:
        report = explain(plan)
        for phase, said in zip(plan.phases, report["phases"], strict=True):
            said["backend"], said["why"] = chosen.name, chosen.explain(phase)
    return {
        "model": graph.name,
        "backend": chosen.name,
        "refused": backends.passed_over(torch.empty(0)),
        "seconds": time.perf_counter() - start,
        **report,
    }
