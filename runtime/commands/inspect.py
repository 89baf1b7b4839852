"""Show a model's sizes, parameters and depths."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import click

from ..analysed import analysed
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
    """Show the inputs, states, outputs, parameters and depths of a model."""
    from ...operators.summary import summarise

    summary = summarise(analysed(file, model, parameters))
    if as_json:
        print_json(summary)
    else:
        click.echo("\n".join(describe(summary)))


def describe(summary: dict[str, Any]) -> Iterable[str]:
    """The lines that a person reads, from the document that `--json` prints."""
    yield f"model {summary['model']}"
    rows = [("input", v["name"], v["type"], "") for v in summary["inputs"]]
    rows += [("state", v["name"], v["type"], _delay(v["delay"])) for v in summary["states"]]
    rows += [
        ("output", v["name"], v["type"], "at end" if v.get("at_end") else "")
        for v in summary["outputs"]
    ]
    yield ""
    yield from _table(rows)
    tensors = summary["parameters"]["tensors"]
    if tensors:
        yield ""
        yield from _table(
            [("parameter", "shape", "init", "")]
            + [
                (t["name"], _shape(t["shape"]), str(t["init"]), "frozen" if t["frozen"] else "")
                for t in tensors
            ]
        )
    total, weights = summary["parameters"]["total"], summary["parameters"]["weights"]
    yield ""
    yield f"{total:,} parameters, {weights:,} of them weights"
    yield ""
    yield from _table([(_words(name), str(depth)) for name, depth in summary["depth"].items()])


def _delay(delay: int) -> str:
    return "" if delay == 1 else f"delay {delay}"


def _shape(shape: Sequence[int]) -> str:
    return " × ".join(str(size) for size in shape) or "1"


def _words(name: str) -> str:
    return name.replace("_", " ") + ("" if name == "skip_coefficient" else " depth")


def _table(rows: Sequence[tuple[str, ...]]) -> Iterable[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        yield "  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()
