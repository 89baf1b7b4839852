"""Parse the fenced blocks of a Markdown page."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class FencedBlock:
    """A block, the language after its fence, and the rest of that line."""

    language: str
    info: str
    text: str
    line: int


def fenced_blocks(page: Path) -> list[FencedBlock]:
    """Return all fenced blocks of a page, in order."""
    text = page.read_text(encoding="utf-8")
    matches = re.finditer(r"^```(\w+) ?([^\n]*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return [FencedBlock(m[1], m[2], m[3], text.count("\n", 0, m.start()) + 1) for m in matches]
