"""Show a model's sizes, parameters and depths."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import click

from rnnc.runtime.emit_stages import STAGES, backend_options, emit_stage
from rnnc.runtime.load_graph import load_graph
from rnnc.runtime.options import json_option, model_option, set_option
from rnnc.runtime.print_diagnostics import print_json

if TYPE_CHECKING:
    from rnnc.operators.graph.operator_graph import OperatorGraph


@click.command()
@click.argument("file", metavar="FILE")
@set_option
@model_option
@click.option("--plan", "with_plan", is_flag=True, help="Show the compiled plan, too.")
@click.option("--emit", "stage", type=click.Choice(STAGES), help="Print one stage instead.")
@backend_options
@json_option
def command(
    file: str,
    parameters: dict[str, int | float],
    model: str | None,
    with_plan: bool,
    stage: str | None,
    backend: str,
    memory: str,
    without: tuple[str, ...],
    as_json: bool,
) -> None:
    """Show the inputs, states, outputs, parameters, depths and work of a model."""
    if stage is not None:
        options: dict[str, Any] = {"backend": backend, "memory": memory, "without": without}
        click.echo(emit_stage(file, stage, model, parameters, **options), nl=False)
        return
    from rnnc.operators.analysis.summary import summarize

    graph = load_graph(file, model, parameters)
    summary = summarize(graph)
    plan = plan_report(graph, memory, without, backend)
    if plan is not None:
        summary["cost"] = plan["cost"]
    if with_plan:
        summary["plan"] = plan
    if as_json:
        print_json(summary)
    else:
        click.echo("\n".join(format_summary(summary)))


def plan_report(
    graph: OperatorGraph, memory: str, without: tuple[str, ...], backend: str = "auto"
) -> dict[str, Any] | None:
    """Return the plan of a training step as plain JSON values; None if there is no plan.

    For a backend that is named, the plan is its own, and what runs each phase is said.
    """
    from rnnc.compiler.errors import Unsupported
    from rnnc.compiler.pipeline import build_plan
    from rnnc.compiler.request import training_request
    from rnnc.compiler.schedule.explain import explain

    try:
        if backend == "auto":
            request = training_request(graph, memory=memory, without=without)  # type: ignore[arg-type]
            report = explain(build_plan(graph, request))
        else:
            report = _backend_plan_report(backend, graph, memory, without)
    except Unsupported:
        return None
    if not report:
        return None
    report["cost"] = {
        side: {
            key: sum(p[key] for p in report["phases"] if p["pass"] == side and p["kind"] != "once")
            for key in ("product_flops", "elementwise")
        }
        for side in ("forward", "backward")
    }
    return report


def _backend_plan_report(
    name: str, graph: OperatorGraph, memory: str, without: tuple[str, ...]
) -> dict[str, Any]:
    """Return the plan of one backend, even if it cannot run here; empty if it has none."""
    from rnnc.compiler.backends.backend import Options
    from rnnc.compiler.backends.registry import BACKENDS
    from rnnc.compiler.schedule.explain import explain

    if name not in BACKENDS:
        names = ", ".join(("auto", *BACKENDS))
        raise click.UsageError(f"there is no backend `{name}` here; backends: {names}")
    chosen = BACKENDS[name](graph, Options(memory, frozenset(without)))  # type: ignore[arg-type]
    plan = chosen.plan()
    if plan is None:
        return {}
    report = explain(plan)
    for phase, entry in zip(plan.phases, report["phases"], strict=True):
        entry["backend"], entry["why"] = name, chosen.explain(phase)
    return report


def format_summary(summary: dict[str, Any]) -> Iterable[str]:
    """Format the JSON document as lines of text."""
    yield f"model {summary['model']}"
    rows = [("input", v["name"], v["type"], "") for v in summary["inputs"]]
    rows += [("state", v["name"], v["type"], _format_delay(v["delay"])) for v in summary["states"]]
    rows += [("output", v["name"], v["type"], _format_marks(v)) for v in summary["outputs"]]
    yield ""
    yield from _format_table(rows)
    tensors = summary["parameters"]["tensors"]
    if tensors:
        yield ""
        yield from _format_table(
            [("parameter", "shape", "init", "")]
            + [
                (
                    t["name"],
                    _format_shape(t["shape"]),
                    str(t["init"]),
                    "frozen" if t["frozen"] else "",
                )
                for t in tensors
            ]
        )
    total, weights = summary["parameters"]["total"], summary["parameters"]["weights"]
    yield ""
    yield f"{total:,} parameters, {weights:,} of them weights"
    yield ""
    yield from _format_table(
        [(_measure_title(name), str(depth)) for name, depth in summary["depth"].items()]
    )
    if "cost" in summary:
        yield ""
        for side, cost in summary["cost"].items():
            yield (
                f"{side} pass, a step and row: {cost['product_flops']:,} FLOPs in products, "
                f"{cost['elementwise']:,} elementwise"
            )
    if "plan" in summary:
        from rnnc.compiler.schedule.explain import describe as describe_plan

        yield ""
        if summary["plan"] is None:
            yield "no plan: the reference runs it one operation at a time"
        else:
            yield from describe_plan(summary["plan"])


def _format_marks(output: dict[str, Any]) -> str:
    marks = {"at end": output.get("at_end"), "unscored": output.get("unscored")}
    return " ".join(mark for mark, is_set in marks.items() if is_set)


def _format_delay(delay: int) -> str:
    return "" if delay == 1 else f"delay {delay}"


def _format_shape(shape: Sequence[int]) -> str:
    return " × ".join(str(size) for size in shape) or "1"


def _measure_title(name: str) -> str:
    return name.replace("_", " ") + ("" if name == "skip_coefficient" else " depth")


def _format_table(rows: Sequence[tuple[str, ...]]) -> Iterable[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        yield "  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
