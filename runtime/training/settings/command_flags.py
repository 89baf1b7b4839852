"""The flags of `rnnc train` that set fields of the training configuration."""

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
"""What a flag says to switch off what it sets, and how such a choice passes through click."""


FlagParser = Callable[[str], Any]
"""Reads a flag's value, or raises what click shows as wrong usage."""


def number_parser(name: str) -> FlagParser:
    """A number in the range of a field of the configuration; or the word `off`, if that may be."""
    declared = get_type_hints(TrainingConfig, include_extras=True)[name]
    parts = [part for part in get_args(declared) if part is not type(None)]
    can_be_off = get_origin(declared) is not Annotated
    kind, bounds = get_args(parts[0] if can_be_off else declared)
    return integer_parser(bounds, can_be_off) if kind is int else float_parser(bounds, can_be_off)


def float_parser(bounds: Meta, allow_off: bool) -> FlagParser:
    """A real number within bounds: above or from a least one on, up to or below a largest one."""
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
    """An integer within bounds."""
    least, most = bounds.ge, bounds.le
    assert isinstance(least, int)
    assert isinstance(most, int)

    def read(text: str) -> int | str:
        if allow_off and text == OFF_VALUE:
            return OFF_VALUE
        if re.fullmatch(r"[+-]?[0-9]{1,19}", text) and least <= int(text) <= most:
            return int(text)
        shown = "2**63 - 1" if most == MAX_INTEGER else f"{most:,}"
        raise _bad_value(f"an integer from {least} to {shown}", text, allow_off)

    return read


def parse_task_option(text: str) -> tuple[str, int]:
    """`name=integer`."""
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
    """Add all flags; one that is not given passes None."""
    defaults = TrainingConfig()
    for flag, name, kind, text in reversed(FLAGS):
        default = getattr(defaults, name)
        shown = OFF_VALUE if default is None else default
        add = click.option(
            flag,
            name,
            type=kind,
            metavar=None if isinstance(kind, click.Choice) else "VALUE",
            help=f"{text}  [default: {shown}]",
        )
        command = add(command)
    return command


def build_config(
    task_settings: Mapping[str, object], options: Mapping[str, object]
) -> TrainingConfig:
    """The defaults, over them the settings that suit a task, and over those the flags given.

    Raises:
        click.UsageError: for flags that do not go together.
    """
    flags = {name: options[name] for _, name, _, _ in FLAGS if options[name] is not None}
    chosen = {name: None if value == OFF_VALUE else value for name, value in flags.items()}
    config = msgspec.structs.replace(TrainingConfig(), **{**task_settings, **chosen})
    if config.momentum and config.optimizer != "sgd":
        raise click.UsageError("--momentum is for --optimizer sgd; adam has its own")
    return config
