"""Measure a model's backends against each other on this machine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from ..options import json_option, model_option, set_option
from ..report import print_json

if TYPE_CHECKING:
    from ...compiler.module import CompiledRNN


@click.command()
@click.argument("file", metavar="FILE")
@click.option("--steps", type=click.IntRange(1), default=100, show_default=True, help="T.")
@click.option("--rows", type=click.IntRange(1), default=16, show_default=True, help="B.")
@click.option("--repeat", type=click.IntRange(2), default=7, show_default=True, help="Rounds.")
@click.option("--threads", type=click.IntRange(1), help="Threads; what torch takes by default.")
@click.option(
    "--against",
    type=click.Choice(["LSTM", "GRU", "RNN"]),
    help="Time torch.nn's module of this name and of the sizes of FILE's first state, too.",
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
    against: str | None,
    parameters: dict[str, int | float],
    model: str | None,
    as_json: bool,
) -> None:
    """Time forward passes and training steps of FILE on every backend, in turns."""
    import torch

    from ...grammar.diagnostics import RnnError
    from ..measure import measure

    if threads is not None:
        torch.set_num_threads(threads)
    modules: dict[str, Any] = {}
    refused: dict[str, str] = {}
    compiled: CompiledRNN | None = None
    for backend in ("cpu", "aten", "reference"):
        try:
            compiled = _module(file, backend, parameters, model)
            modules[backend] = compiled
        except RnnError as error:
            if error.diagnostics[0].code not in {"RNN501", "RNN503"}:
                raise
            refused[backend] = error.diagnostics[0].message
    assert compiled is not None
    inputs = _inputs(compiled, steps, rows)
    if against is not None:
        modules[f"torch.nn.{against}"] = _rival(compiled, against)
    ways: dict[str, Callable[[], object]] = {}
    for name, module in modules.items():
        x = inputs if hasattr(module, "graph") else next(iter(inputs.values()))
        ways[f"{name} forward"] = _forward(module, x)
        ways[f"{name} step"] = _step(module, x)
    times = measure(ways, repeat)
    document = {
        "file": file,
        "steps": steps,
        "rows": rows,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "vectors": torch.backends.cpu.get_cpu_capability(),
        "refused": refused,
        "seconds": {name: asdict(value) for name, value in times.items()},
    }
    if as_json:
        print_json(document)
        return
    click.echo(
        f"{file}: T={steps}, B={rows}, {document['threads']} threads, {document['vectors']}; "
        f"medians of {repeat} rounds, in turns"
    )
    click.echo(f"{'':24}{'median':>10}{'quartiles':>20}{'processor':>12}{'first':>10}  over cpu")
    for name, value in times.items():
        base = times.get("cpu " + name.rpartition(" ")[2])
        ratio = f"{value.median / base.median:6.2f}×" if base else ""
        mark = "  cpu is slower" if base and value.median < base.median else ""
        spread = f"{value.low * 1e3:.2f}–{value.high * 1e3:.2f}"
        click.echo(
            f"{name:24}{value.median * 1e3:8.2f}ms{spread:>20}{value.processor * 1e3:10.2f}ms"
            f"{value.first * 1e3:8.0f}ms  {ratio}{mark}"
        )
    for name, reason in refused.items():
        click.echo(f"{name} does not run: {reason}")


def _module(
    file: str, backend: str, parameters: dict[str, int | float], model: str | None
) -> CompiledRNN:
    from ...compiler.api import compile

    return compile(file, model=model, backend=backend, parameters=parameters)


def _inputs(module: CompiledRNN, steps: int, rows: int) -> dict[str, Any]:
    import torch

    found: dict[str, Any] = {}
    for variable in module.graph.inputs:
        if variable.type.kind == "symbol":
            found[variable.name] = torch.randint(0, variable.type.size, (steps, rows))
        else:
            values = torch.randn(steps, rows, variable.type.size)
            binary = variable.type.kind == "binary"
            found[variable.name] = (values > 0).to(values.dtype) if binary else values
    return found


def _rival(module: CompiledRNN, name: str) -> Any:
    import torch

    width = next(v.type.size for v in module.graph.inputs if v.type.kind != "symbol")
    return getattr(torch.nn, name)(width, module.graph.states[0].type.size)


def _forward(module: Any, x: Any) -> Callable[[], object]:
    import torch

    def run() -> None:
        with torch.no_grad():
            module(x)

    return run


def _step(module: Any, x: Any) -> Callable[[], object]:
    def run() -> None:
        for parameter in module.parameters():
            parameter.grad = None
        y, _ = module(x)
        sum(part.sum() for part in (y if isinstance(y, tuple) else (y,))).backward()

    return run
