"""The fenced blocks of a page, in order."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class FencedBlock:
    """A block, the first word behind its fence, and what else stands there."""

    language: str
    info: str
    text: str
    line: int


def fenced_blocks(page: Path) -> list[FencedBlock]:
    """All fenced blocks of a page."""
    text = page.read_text(encoding="utf-8")
    found = re.finditer(r"^```(\w+) ?([^\n]*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return [FencedBlock(m[1], m[2], m[3], text.count("\n", 0, m.start()) + 1) for m in found]
