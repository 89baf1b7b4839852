"""The specs that ship with rnnc: the zoo's models."""

from __future__ import annotations

import re
from itertools import takewhile
from pathlib import Path
from typing import Final

from rnnc.grammar.diagnostics.errors import fail
from rnnc.grammar.diagnostics.suggestions import did_you_mean
from rnnc.grammar.source import Source

ZOO: Final = Path(__file__).parent.parent / "zoo"


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


def zoo_description(name: str) -> str:
    """What a zoo model is, and where it is from: its first comment.

    Raises:
        RnnError: RNN606, when there is no model of that name.
    """
    lines = zoo_source(name).text.splitlines()
    comment = takewhile(lambda line: line.startswith("#"), lines)
    return " ".join(line.removeprefix("#").strip() for line in comment)


def zoo_summary(name: str) -> str:
    """The first sentence of `zoo_description`."""
    return _SENTENCE_END.split(zoo_description(name), maxsplit=1)[0].rstrip(".")


_SENTENCE_END: Final = re.compile(r"(?<! al)\.\s+(?=[A-Z⊕▷])")
