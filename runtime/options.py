"""Command line options shared by several commands."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable

import click

JSON_META_KEY = "rnnc.json"
"""Key in a click context's `meta`: true if standard output carries JSON."""

INTEGER_PATTERN = re.compile(r"[+-]?[0-9]+")


def _parse_parameters(
    ctx: click.Context, option: click.Parameter, values: Iterable[str]
) -> dict[str, int | float]:
    parameters: dict[str, int | float] = {}
    for text in values:
        name, equals, value = (part.strip() for part in text.partition("="))
        name = unicodedata.normalize("NFC", name)
        if not equals or not name.isidentifier():
            raise click.BadParameter(f"expected name=value, got `{text}`", ctx, option)
        if name in parameters:
            raise click.BadParameter(f"`{name}` is given twice", ctx, option)
        try:
            number = int(value) if INTEGER_PATTERN.fullmatch(value) else float(value)
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            message = f"expected an integer or a real for `{name}`, got `{value}`"
            raise click.BadParameter(message, ctx, option)
        parameters[name] = number
    return parameters


def _remember_json(ctx: click.Context, option: click.Parameter, value: bool) -> bool:
    # CommandFolder.invoke reads this: errors are then printed as JSON, too.
    ctx.meta[JSON_META_KEY] = value
    return value


set_option = click.option(
    "--set",
    "parameters",
    metavar="NAME=VALUE",
    multiple=True,
    callback=_parse_parameters,
    help="Bind a parameter of the model; may be repeated.",
)
model_option = click.option("--model", metavar="NAME", help="Pick one model of several in FILE.")
json_option = click.option(
    "--json",
    "as_json",
    is_flag=True,
    is_eager=True,
    callback=_remember_json,
    help="Print one JSON document and nothing else.",
)
