"""Time a model against its alternatives on this machine, in turns."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from rnnc.runtime.benchmark.workload.candidate_names import CANDIDATE_NAMES, CANDIDATES_BY_DEVICE
from rnnc.runtime.options import json_option, model_option, set_option
from rnnc.runtime.print_diagnostics import print_json

if TYPE_CHECKING:
    from rnnc.runtime.benchmark.summary import BenchmarkReport
    from rnnc.runtime.benchmark.workload.workload import Workload

SIZE_RANGE = click.IntRange(1, 1_000_000)


@click.command()
@click.argument("file", metavar="FILE")
@click.option("--steps", type=SIZE_RANGE, default=100, show_default=True, help="T.")
@click.option("--rows", type=SIZE_RANGE, default=16, show_default=True, help="B.")
@click.option(
    "--repeat", type=click.IntRange(2, 10_000), default=7, show_default=True, help="Rounds."
)
@click.option(
    "--threads", type=click.IntRange(1, 1024), help="Threads; what torch takes by default."
)
@click.option(
    "--device",
    type=click.Choice(tuple(CANDIDATES_BY_DEVICE)),
    default="cpu",
    show_default=True,
    help="Where.",
)
@click.option(
    "--against",
    type=click.Choice(CANDIDATE_NAMES),
    multiple=True,
    help="Time this one, and no others that are not named so; may be repeated.",
)
@click.option(
    "--base",
    type=click.Choice(CANDIDATE_NAMES),
    help="Whom the others are compared with  [default: the first backend that runs]",
)
@click.option(
    "--tune",
    is_flag=True,
    help="First search for the fastest tiers and tiles on this GPU, and keep them (--device cuda).",
)
@click.option(
    "--times-only",
    is_flag=True,
    help="Leave out memory and compile times, which take processes of their own.",
)
@set_option
@model_option
@json_option
def command(
    file: str,
    steps: int,
    rows: int,
    repeat: int,
    threads: int | None,
    device: str,
    against: tuple[str, ...],
    base: str | None,
    times_only: bool,
    tune: bool,
    parameters: dict[str, int | float],
    model: str | None,
    as_json: bool,
) -> None:
    """Time forward passes and training steps of FILE, of its rivals, and of two floors.

    Backends: cpu, aten, reference. Rivals: torch.nn (its own layers), compiled-cell (torch.compile
    of one step, in a loop), jax (lax.scan). Floors: products (those needed, through torch), peak
    (their FLOPs at the speed of the generated micro-kernel). On a GPU (--device cuda): the backends
    cuda, aten and reference, torch.nn on cuDNN, and compiled-cell with CUDA graphs. Each is first
    held against the reference: what computes something else is not timed.
    """
    import torch

    from rnnc.compiler.api import compile
    from rnnc.runtime.benchmark.summary import format_lines, to_json
    from rnnc.runtime.benchmark.workload.workload import make_workload

    if tune and device != "cuda":
        raise click.UsageError("--tune is for --device cuda: elsewhere there is nothing to tune")
    _require_device(device)
    if threads is not None:
        torch.set_num_threads(threads)
    program = compile(file, model=model, backend="reference", parameters=parameters).program
    selected = dict.fromkeys(
        (*([base] if base else []), *(against or CANDIDATES_BY_DEVICE[device]))
    )
    workload = make_workload(program, steps, rows, device=device)
    if tune:
        _tune(workload)
    report = _measure(file, workload, tuple(selected), base, repeat, times_only)
    if as_json:
        print_json(to_json(report))
        return
    for line in format_lines(report):
        click.echo(line)


def _measure(
    file: str,
    workload: Workload,
    names: tuple[str, ...],
    base: str | None,
    repeat: int,
    times_only: bool,
) -> BenchmarkReport:
    from rnnc.grammar.diagnostics.errors import fail
    from rnnc.runtime.benchmark.baselines.registry import CANDIDATES
    from rnnc.runtime.benchmark.comparison import compare
    from rnnc.runtime.benchmark.measurement.subprocess_job import (
        measure_first_calls,
        measure_step_memory,
    )
    from rnnc.runtime.benchmark.summary import BenchmarkReport
    from rnnc.runtime.benchmark.workload.candidate import Unavailable
    from rnnc.runtime.benchmark.workload.candidate_names import FLOOR_NAMES

    factories = {name: CANDIDATES[name] for name in CANDIDATE_NAMES if name in names}
    try:
        comparison = compare(
            workload, factories, rounds=repeat, base=base, report_progress=_show_progress
        )
    except Unavailable as error:
        fail("RNN520", f"nothing can be timed: {error}", hint="`rnnc doctor` says what is missing")
    memory: dict[str, int] = {}
    missing_measurements: dict[str, str] = {}
    calls = None
    if not times_only:
        for name in comparison.candidates:
            if name not in FLOOR_NAMES:
                _show_progress(f"memory of {name}")
                try:
                    memory[name] = measure_step_memory(workload, name)
                except Unavailable as error:
                    missing_measurements[f"memory of {name}"] = str(error)
        _show_progress("first calls")
        try:
            calls = measure_first_calls(workload, comparison.base)
        except Unavailable as error:
            missing_measurements["compile times"] = str(error)
    return BenchmarkReport(file, comparison, memory, calls, missing_measurements)


def _tune(workload: Workload) -> None:
    from rnnc.grammar.diagnostics.errors import fail
    from rnnc.runtime.benchmark import autotune as tune
    from rnnc.runtime.benchmark.workload.candidate import Unavailable

    _show_progress("tuning")
    try:
        click.echo(str(tune.tune(workload)), err=True)
    except Unavailable as error:
        fail("RNN520", f"nothing can be tuned: {error}", hint="`rnnc doctor` says what is missing")


def _require_device(device: str) -> None:
    from rnnc.grammar.diagnostics.errors import fail
    from rnnc.runtime.benchmark.measurement.device_timing import require_device
    from rnnc.runtime.benchmark.workload.candidate import Unavailable

    try:
        require_device(device)
    except Unavailable as error:
        fail("RNN520", f"nothing can be timed: {error}", hint="`rnnc doctor` says what is missing")


def _show_progress(line: str) -> None:
    """Print a progress line if standard error is a terminal."""
    if sys.stderr is not None and sys.stderr.isatty():
        click.echo(f"… {line}", err=True)
