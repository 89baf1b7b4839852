"""The flags of `rnnc train` that set fields of the training configuration."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final, TypeVar, get_args, get_origin, get_type_hints

import click
import msgspec
from msgspec import Meta

from .training_config import LARGEST, TrainingConfig

Command = TypeVar("Command", bound=Callable[..., Any])

OFF: Final = "off"
"""What a flag says to switch off what it sets, and how such a choice passes through click."""


Read = Callable[[str], Any]
"""Reads a flag's value, or raises what click shows as wrong usage."""


def number(name: str) -> Read:
    """A number in the range of a field of the configuration; or the word `off`, if that may be."""
    declared = get_type_hints(TrainingConfig, include_extras=True)[name]
    parts = [part for part in get_args(declared) if part is not type(None)]
    can_be_off = get_origin(declared) is not Annotated
    kind, bounds = get_args(parts[0] if can_be_off else declared)
    return whole(bounds, can_be_off) if kind is int else real(bounds, can_be_off)


def real(bounds: Meta, can_be_off: bool) -> Read:
    """A real number within bounds: above or from a least one on, up to or below a largest one."""
    least = f"above {bounds.gt:g}" if bounds.gt is not None else f"at least {bounds.ge:g}"
    most = f"below {bounds.lt:g}" if bounds.lt is not None else f"at most {bounds.le:g}"

    def read(text: str) -> float | str:
        if can_be_off and text == OFF:
            return OFF
        try:
            value: float = msgspec.convert(float(text), Annotated[float, bounds])
            return value
        except ValueError:
            raise _unreadable(f"a finite number {least} and {most}", text, can_be_off) from None

    return read


def whole(bounds: Meta, can_be_off: bool) -> Read:
    """An integer within bounds."""
    least, most = bounds.ge, bounds.le
    assert isinstance(least, int)
    assert isinstance(most, int)

    def read(text: str) -> int | str:
        if can_be_off and text == OFF:
            return OFF
        if re.fullmatch(r"[+-]?[0-9]{1,19}", text) and least <= int(text) <= most:
            return int(text)
        shown = "2**63 - 1" if most == LARGEST else f"{most:,}"
        raise _unreadable(f"an integer from {least} to {shown}", text, can_be_off)

    return read


def task_option(text: str) -> tuple[str, int]:
    """`name=integer`."""
    name, _, value = text.partition("=")
    if not name.isidentifier() or not re.fullmatch(r"[+-]?[0-9]{1,18}", value):
        raise _unreadable("name=integer", text)
    return name, int(value)


def _unreadable(expected: str, text: str, can_be_off: bool = False) -> click.BadParameter:
    off = f", or `{OFF}`" if can_be_off else ""
    return click.BadParameter(f"expected {expected}{off}, got `{text}`")


FLAGS: Final = (
    ("--epochs", "epochs", number("epochs"), "Passes over the train split, at most."),
    ("--seed", "seed", number("seed"), "Seed of weights, order and noise."),
    ("--lr", "learning_rate", number("learning_rate"), "Learning rate."),
    ("--batch-size", "batch_size", number("batch_size"), "Sequences a batch."),
    ("--optimizer", "optimizer", click.Choice(["adam", "sgd"]), "Which optimizer."),
    ("--momentum", "momentum", number("momentum"), "Momentum of `sgd`."),
    ("--clip", "clip", number("clip"), "Largest norm of the gradient, or `off`."),
    (
        "--decay",
        "decay",
        number("decay"),
        "From the first rise of the validation metric, divide the learning rate by "
        "1 + updates / DECAY; or `off`.",
    ),
    (
        "--weight-noise",
        "weight_noise",
        number("weight_noise"),
        "Standard deviation of the noise on weights at each update.",
    ),
    (
        "--patience",
        "patience",
        number("patience"),
        "Stop after so many epochs without a better validation, or `off`.",
    ),
    ("--backend", "backend", str, "What to compile for."),
)


def training_options(command: Command) -> Command:
    """Add all flags; one that is not given passes None."""
    defaults = TrainingConfig()
    for flag, name, kind, text in reversed(FLAGS):
        default = getattr(defaults, name)
        shown = OFF if default is None else default
        add = click.option(
            flag,
            name,
            type=kind,
            metavar=None if isinstance(kind, click.Choice) else "VALUE",
            help=f"{text}  [default: {shown}]",
        )
        command = add(command)
    return command


def configured(suited: Mapping[str, object], given: Mapping[str, object]) -> TrainingConfig:
    """The defaults, over them the settings that suit a task, and over those the flags given.

    Raises:
        click.UsageError: for flags that do not go together.
    """
    flags = {name: given[name] for _, name, _, _ in FLAGS if given[name] is not None}
    chosen = {name: None if value == OFF else value for name, value in flags.items()}
    config = msgspec.structs.replace(TrainingConfig(), **{**suited, **chosen})
    if config.momentum and config.optimizer != "sgd":
        raise click.UsageError("--momentum is for --optimizer sgd; adam has its own")
    return config
