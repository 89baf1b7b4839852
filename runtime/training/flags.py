"""The flags of `rnnc train` that set fields of the training configuration."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

import click
import msgspec

from .config import TrainingConfig

Command = TypeVar("Command", bound=Callable[..., Any])

OFF: Final = "off"
"""What a flag says to switch off what it sets, and how such a choice passes through click."""


Read = Callable[[str], Any]
"""Reads a flag's value, or raises what click shows as wrong usage."""


def real(*, zero: bool = False, below: float = math.inf, can_be_off: bool = False) -> Read:
    """A finite real number: above zero, or from zero on, below a bound; or the word `off`."""
    expected = "a finite number " + ("at least 0" if zero else "above 0")
    expected += f" and below {below:g}" if below < math.inf else ""

    def read(text: str) -> float | str:
        if can_be_off and text == OFF:
            return OFF
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if (number >= 0 if zero else number > 0) and number < below:
            return number
        raise _unreadable(expected, text, can_be_off)

    return read


def whole(least: int, *, can_be_off: bool = False) -> Read:
    """An integer from `least` on that has 63 bits; or the word `off`."""

    def read(text: str) -> int | str:
        if can_be_off and text == OFF:
            return OFF
        if re.fullmatch(r"[+-]?[0-9]{1,19}", text) and least <= int(text) < 2**63:
            return int(text)
        raise _unreadable(f"an integer from {least} to 2**63 - 1", text, can_be_off)

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
    ("--epochs", "epochs", whole(1), "Passes over the train split, at most."),
    ("--seed", "seed", whole(0), "Seed of weights, order and noise."),
    ("--lr", "learning_rate", real(), "Learning rate."),
    ("--batch-size", "batch_size", whole(1), "Sequences a batch."),
    ("--optimizer", "optimizer", click.Choice(["adam", "sgd"]), "Which optimizer."),
    ("--momentum", "momentum", real(zero=True, below=1), "Momentum of `sgd`."),
    ("--clip", "clip", real(can_be_off=True), "Largest norm of the gradient, or `off`."),
    (
        "--decay",
        "decay",
        real(can_be_off=True),
        "From the first rise of the validation metric, divide the learning rate by "
        "1 + updates / DECAY; or `off`.",
    ),
    (
        "--weight-noise",
        "weight_noise",
        real(zero=True),
        "Standard deviation of the noise on weights at each update.",
    ),
    (
        "--patience",
        "patience",
        whole(1, can_be_off=True),
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
