"""Tables as Markdown, and their places between markers in a page."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass
class Table:
    """What a section of the page holds: tables, and lines below them."""

    blocks: list[str] = field(default_factory=list)

    def add(self, head: Sequence[str], rows: Sequence[Sequence[str]], title: str = "") -> None:
        """A table, with a line above it."""
        if title:
            self.say(title)
        lines = [_line(head), _line(["---"] * len(head)), *map(_line, rows)]
        self.blocks.append("\n".join(lines))

    def say(self, *sentences: str) -> None:
        """A paragraph."""
        self.blocks.append(" ".join(sentences))

    def text(self) -> str:
        """The section as Markdown."""
        return "\n\n".join(self.blocks)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def filled(page: str, sections: Mapping[str, str]) -> str:
    """A page with new text between its markers `<!-- begin NAME -->` and `<!-- end NAME -->`.

    Raises:
        ValueError: when the page has no such markers, or has them twice.
    """
    for name, text in sections.items():
        begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
        if page.count(begin) != 1 or page.count(end) != 1:
            raise ValueError(f"expected one pair of markers for {name!r}, got {page.count(begin)}")
        pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
        page = pattern.sub(lambda _, b=begin, t=text, e=end: f"{b}\n{t}\n{e}", page)
    return page


def names_in(page: str) -> list[str]:
    """The names of the sections that a page has markers for, in order."""
    return re.findall(r"<!-- begin (\S+) -->", page)
