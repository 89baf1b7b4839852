"""Labels in mathematical notation: `W_1` and `W1` with subscripts, variables in italics."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import Final, Literal

from rnnc.grammar.symbols import OPERATOR_WORDS

Style = Literal["plain", "italic", "below", "above", "time"]


@dataclass(frozen=True, slots=True)
class TextRun:
    """Characters in one style; `below` is a subscript, `above` a superscript, `time` the step."""

    text: str
    style: Style = "plain"


Label = tuple[TextRun, ...]

_DIGITS: Final = str.maketrans("0123456789+-", "₀₁₂₃₄₅₆₇₈₉₊₋")
_RAISED: Final = str.maketrans("0123456789+-", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻")
_SUBSCRIPTED: Final = re.compile(r"([^\W\d_]+)([0-9]+)|([A-Z]|b)([a-z0-9]{1,2})")
_UNSEEN: Final = frozenset({"Cc", "Cs", "Cn", "Zl", "Zp"})
_TURNING: Final = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_ASCII: Final = {
    "σ": "sigmoid",
    "⊙": "*",
    "−": "-",
    "×": "x",
    "·": "*",
    "≈": "~=",
    "Σ": "sum",
    "⊕": "(+)",
    "⊗": "(*)",
    "⊖": "(-)",
    "⊛": "(**)",
    "⊞": "[+]",
    "⊠": "[*]",
    "▷": "|>",
    "◁": "<|",
    "△": "/\\",
    "▽": "\\/",
    "…": "...",
    "ᵀ": "^T",
}


def plain_label(text: str) -> Label:
    """Make a label of upright characters."""
    return (TextRun(text),) if text else ()


def name_label(text: str) -> Label:
    """Make the label of a name: `h_1` and `W1` with a subscript, operator symbols upright."""
    text, prime = (text[:-1], "'") if text.endswith("'") else (text, "")
    tail: Label = (TextRun("′"),) if prime else ()
    if text and text[0] in OPERATOR_WORDS:
        below = text[1:].lstrip("_")
        return (TextRun(text[0]), *((TextRun(below, "below"),) if below else ()), *tail)
    head, underscore, below = text.partition("_")
    if underscore and head and below:
        return (*_head(head), TextRun(below.replace("_", ","), "below"), *tail)
    match = _SUBSCRIPTED.fullmatch(text)
    if match:
        head, below = (match[1], match[2]) if match[1] else (match[3], match[4])
        return (TextRun(head, "italic"), TextRun(below, "below"), *tail)
    return (*_head(text), *tail)


def _head(text: str) -> Label:
    return (TextRun(text, "italic" if len(text) < 4 else "plain"),)


def delay_label(steps: int) -> Label:
    """Make the label of a shift operator: z⁻¹ delays a step, z⁺¹ advances one."""
    return (TextRun("z", "italic"), TextRun(f"{-steps:+d}".replace("-", "−"), "above"))


def to_text(label: Label, *, ascii_only: bool = False) -> str:
    """Convert a label to one line, with Unicode subscripts or `_`."""
    parts: list[str] = []
    for run in label:
        text = run.text
        if run.style == "below":
            small = text.translate(_DIGITS)
            text = "_" + text if ascii_only or not text.isdecimal() else small
        elif run.style == "time":
            text = f"[{text.lstrip(',')}]".replace("−", "-")
        elif run.style == "above":
            text = "^" + text if ascii_only else text.replace("−", "-").translate(_RAISED)
        parts.append(text)
    joined = replace_invisible("".join(parts))
    return to_ascii(joined) if ascii_only else joined


def replace_invisible(text: str) -> str:
    """Replace line breaks, controls and direction changes in a text by `�`."""
    return "".join("�" if unicodedata.category(c) in _UNSEEN or c in _TURNING else c for c in text)


def to_ascii(text: str) -> str:
    """Convert a text to ASCII; characters without a spelling become escapes."""
    for symbol, spelling in _ASCII.items():
        text = text.replace(symbol, spelling)
    text = text.replace("′", "'")
    return text.encode("ascii", "backslashreplace").decode("ascii")
