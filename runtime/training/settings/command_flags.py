"""The flags of `rnnc train`, one for each field of the training configuration."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final, TypeVar, get_args, get_origin, get_type_hints

import click
import msgspec
from msgspec import Meta

from .training_config import MAX_INTEGER, TrainingConfig

Command = TypeVar("Command", bound=Callable[..., Any])

OFF_VALUE: Final = "off"
"""The word that switches a setting off, and its value while click passes it on."""


FlagParser = Callable[[str], Any]
"""Parses a flag's value, or raises wrong usage."""


def number_parser(name: str) -> FlagParser:
    """Make a parser for a field of the configuration, with its range, and `off` if allowed."""
    annotation = get_type_hints(TrainingConfig, include_extras=True)[name]
    parts = [part for part in get_args(annotation) if part is not type(None)]
    allow_off = get_origin(annotation) is not Annotated
    kind, bounds = get_args(parts[0] if allow_off else annotation)
    return integer_parser(bounds, allow_off) if kind is int else float_parser(bounds, allow_off)


def float_parser(bounds: Meta, allow_off: bool) -> FlagParser:
    """Make a parser for real numbers within bounds, each exclusive or inclusive."""
    least = f"above {bounds.gt:g}" if bounds.gt is not None else f"at least {bounds.ge:g}"
    most = f"below {bounds.lt:g}" if bounds.lt is not None else f"at most {bounds.le:g}"

    def read(text: str) -> float | str:
        if allow_off and text == OFF_VALUE:
            return OFF_VALUE
        try:
            value: float = msgspec.convert(float(text), Annotated[float, bounds])
            return value
        except ValueError:
            raise _bad_value(f"a finite number {least} and {most}", text, allow_off) from None

    return read


def integer_parser(bounds: Meta, allow_off: bool) -> FlagParser:
    """Make a parser for integers within bounds."""
    least, most = bounds.ge, bounds.le
    assert isinstance(least, int)
    assert isinstance(most, int)

    def read(text: str) -> int | str:
        if allow_off and text == OFF_VALUE:
            return OFF_VALUE
        if re.fullmatch(r"[+-]?[0-9]{1,19}", text) and least <= int(text) <= most:
            return int(text)
        maximum_text = "2**63 - 1" if most == MAX_INTEGER else f"{most:,}"
        raise _bad_value(f"an integer from {least} to {maximum_text}", text, allow_off)

    return read


def parse_task_option(text: str) -> tuple[str, int]:
    """Parse `name=integer`."""
    name, _, value = text.partition("=")
    if not name.isidentifier() or not re.fullmatch(r"[+-]?[0-9]{1,18}", value):
        raise _bad_value("name=integer", text)
    return name, int(value)


def _bad_value(expected: str, text: str, allow_off: bool = False) -> click.BadParameter:
    off = f", or `{OFF_VALUE}`" if allow_off else ""
    return click.BadParameter(f"expected {expected}{off}, got `{text}`")


FLAGS: Final = (
    ("--epochs", "epochs", number_parser("epochs"), "Passes over the train split, at most."),
    ("--seed", "seed", number_parser("seed"), "Seed of weights, order and noise."),
    ("--lr", "learning_rate", number_parser("learning_rate"), "Learning rate."),
    ("--batch-size", "batch_size", number_parser("batch_size"), "Sequences a batch."),
    ("--optimizer", "optimizer", click.Choice(["adam", "sgd"]), "Which optimizer."),
    ("--momentum", "momentum", number_parser("momentum"), "Momentum of `sgd`."),
    ("--clip", "clip", number_parser("clip"), "Largest norm of the gradient, or `off`."),
    (
        "--decay",
        "decay",
        number_parser("decay"),
        "From the first rise of the validation metric, divide the learning rate by "
        "1 + updates / DECAY; or `off`.",
    ),
    (
        "--weight-noise",
        "weight_noise",
        number_parser("weight_noise"),
        "Standard deviation of the noise on weights at each update.",
    ),
    (
        "--patience",
        "patience",
        number_parser("patience"),
        "Stop after so many epochs without a better validation, or `off`.",
    ),
    ("--backend", "backend", str, "What to compile for."),
)


def training_options(command: Command) -> Command:
    """Add all flags to a command; a missing flag passes None."""
    defaults = TrainingConfig()
    for flag, name, type_, text in reversed(FLAGS):
        default = getattr(defaults, name)
        default_text = OFF_VALUE if default is None else default
        add = click.option(
            flag,
            name,
            type=type_,
            metavar=None if isinstance(type_, click.Choice) else "VALUE",
            help=f"{text}  [default: {default_text}]",
        )
        command = add(command)
    return command


def build_config(
    task_settings: Mapping[str, object], options: Mapping[str, object]
) -> TrainingConfig:
    """Merge defaults, the task's settings and the given flags, later ones first.

    Raises:
        click.UsageError: for flags that exclude each other.
    """
    flags = {name: options[name] for _, name, _, _ in FLAGS if options[name] is not None}
    settings = {name: None if value == OFF_VALUE else value for name, value in flags.items()}
    config = msgspec.structs.replace(TrainingConfig(), **{**task_settings, **settings})
    if config.momentum and config.optimizer != "sgd":
        raise click.UsageError("--momentum is for --optimizer sgd; adam has its own")
    return config
