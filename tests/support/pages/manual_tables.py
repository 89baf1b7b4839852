"""Make the manual's tables; `python -m support.pages.manual_tables` writes them."""

from __future__ import annotations

import re
from pathlib import Path

from rnnc.operators.elaborate.context.parameters import ANNOTATION_MEANINGS
from rnnc.operators.semantics.primitives import PRIMITIVES

MANUAL = Path(__file__).resolve().parents[3] / "docs" / "language.md"


def function_table() -> str:
    """Make one row per function of the language: calls, meaning, source."""
    rows = ["| function | meaning | source |", "| --- | --- | --- |"]
    for function in PRIMITIVES:
        calls = [function.signature]
        calls += [function.signature.replace(function.name, a, 1) for a in function.aliases]
        meaning = function.meaning.replace("|", "\\|")
        called = ", ".join(f"`{call}`" for call in calls)
        rows.append(f"| {called} | {meaning} | {function.citation} |")
    return "\n".join(rows)


def annotation_table() -> str:
    """Make one row per annotation of a parameter."""
    rows = ["| annotation | meaning |", "| --- | --- |"]
    for name, meaning in ANNOTATION_MEANINGS.items():
        call, _, words = meaning.rpartition("`: ")
        rows.append(f"| {call}` | {words} |" if call else f"| `{name}` | {meaning} |")
    return "\n".join(rows)


def fill_tables(text: str) -> str:
    """Replace the tables of the manual's text."""
    for name, table in (("functions", function_table()), ("annotations", annotation_table())):
        pattern = rf"(<!-- table: {name} -->\n).*?(<!-- end -->)"
        text = re.sub(pattern, lambda m, t=table: f"{m[1]}{t}\n{m[2]}", text, flags=re.DOTALL)
    return text


if __name__ == "__main__":
    MANUAL.write_text(fill_tables(MANUAL.read_text(encoding="utf-8")), encoding="utf-8")
