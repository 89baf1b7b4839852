"""Fragments of a spec: expressions with width and precedence, and readable names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

INFIX, SUM, PRODUCT, PREFIX, RUN, ITEM = range(6)
"""Precedence levels, loosest first."""

Form = Literal["vector", "symbol", "window", "tuple"]


@dataclass(frozen=True)
class Text:
    """A written expression.

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
        """Return the text, in parentheses if it binds looser than `level`."""
        return self.text if self.level >= level else f"({self.text})"

    @property
    def item(self) -> str:
        """The text for the right side of a matrix product."""
        return self.at(ITEM)

    @property
    def shape(self) -> tuple[object, ...]:
        """The operand type that an operator must accept."""
        if self.form == "tuple":
            return ("tuple", *(part.shape for part in self.parts))
        if self.form == "window":
            return ("window", self.rows, self.width, self.symbols)
        return (self.form, self.width)
