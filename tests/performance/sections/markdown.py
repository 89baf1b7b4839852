"""Format tables as Markdown, and insert them between markers of a page."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass
class Section:
    """One section of the page: tables and paragraphs."""

    blocks: list[str] = field(default_factory=list)

    def add_table(
        self, head: Sequence[str], rows: Sequence[Sequence[str]], title: str = ""
    ) -> None:
        """Add a table with an optional title line."""
        if title:
            self.add_paragraph(title)
        lines = [_table_row(head), _table_row(["---"] * len(head)), *map(_table_row, rows)]
        self.blocks.append("\n".join(lines))

    def add_paragraph(self, *sentences: str) -> None:
        """Add a paragraph."""
        self.blocks.append(" ".join(sentences))

    def text(self) -> str:
        """Return the section as Markdown."""
        return "\n\n".join(self.blocks)


def _table_row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def fill_sections(page: str, sections: Mapping[str, str]) -> str:
    """Replace the text between markers `<!-- begin NAME -->` and `<!-- end NAME -->`.

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


def section_names(page: str) -> list[str]:
    """Return the names of a page's markers, in order."""
    return re.findall(r"<!-- begin (\S+) -->", page)
