"""Pieces of a spec: an expression with its width and how tightly it binds, or a name to read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

INFIX, SUM, PRODUCT, PREFIX, RUN, ITEM = range(6)
"""How tightly an expression binds, loosest first."""

Form = Literal["vector", "symbol", "window", "tuple"]


@dataclass(frozen=True)
class Text:
    """An expression as it is written.

    `rows` are those of a window, whose rows are `width` wide; `symbols` tells a window of symbols.
    `kind` is the kind of a name that can be read, as `census.py` counts kinds.
    """

    text: str
    width: int
    level: int = ITEM
    form: Form = "vector"
    rows: int = 0
    symbols: bool = False
    parts: tuple[Text, ...] = ()
    kind: str = ""

    def at(self, level: int) -> str:
        """The text where something must bind as tightly as `level`."""
        return self.text if self.level >= level else f"({self.text})"

    @property
    def item(self) -> str:
        """The text right of a matrix."""
        return self.at(ITEM)

    @property
    def shape(self) -> tuple[object, ...]:
        """What an operator must be given to take its place."""
        if self.form == "tuple":
            return ("tuple", *(part.shape for part in self.parts))
        if self.form == "window":
            return ("window", self.rows, self.width, self.symbols)
        return (self.form, self.width)
