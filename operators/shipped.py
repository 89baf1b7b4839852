"""The specs that ship with rnnc: the zoo's models."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from ..grammar.diagnostics import fail
from ..grammar.source import Source
from .naming import did_you_mean

ZOO: Final = Path(__file__).with_name("zoo")


def zoo_names() -> tuple[str, ...]:
    """The models of the zoo, sorted."""
    return tuple(sorted(path.stem for path in ZOO.glob("*.rnn")))


def zoo_source(name: str) -> Source:
    """The text of a zoo model.

    Raises:
        RnnError: RNN606, when there is none of that name.
    """
    if name not in zoo_names():
        known = zoo_names()
        fail(
            "RNN606",
            f"there is no `{name}` in the zoo",
            hint=did_you_mean(name, known) or f"there are: {', '.join(known)}",
        )
    path = ZOO / f"{name}.rnn"
    return Source(path.read_text(encoding="utf-8"), f"zoo:{name}", path)
