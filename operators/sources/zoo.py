"""The models that ship with rnnc: names, texts, descriptions."""

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
    """Return the names of the zoo's models, sorted."""
    return tuple(sorted(path.stem for path in ZOO.glob("*.rnn")))


def zoo_source(name: str) -> Source:
    """Return the text of a zoo model.

    Raises:
        RnnError: RNN606, if there is no model of that name.
    """
    if name not in zoo_names():
        names = zoo_names()
        fail(
            "RNN606",
            f"there is no `{name}` in the zoo",
            hint=did_you_mean(name, names) or f"there are: {', '.join(names)}",
        )
    path = ZOO / f"{name}.rnn"
    return Source(path.read_text(encoding="utf-8"), f"zoo:{name}", path)


def zoo_description(name: str) -> str:
    """Return the description of a zoo model and its origin: its first comment.

    Raises:
        RnnError: RNN606, if there is no model of that name.
    """
    lines = zoo_source(name).text.splitlines()
    comment = takewhile(lambda line: line.startswith("#"), lines)
    return " ".join(line.removeprefix("#").strip() for line in comment)


def zoo_summary(name: str) -> str:
    """Return the first sentence of `zoo_description`."""
    return _SENTENCE_END.split(zoo_description(name), maxsplit=1)[0].rstrip(".")


_SENTENCE_END: Final = re.compile(r"(?<! al)\.\s+(?=[A-Z⊕▷])")
