"""Spelling tables of the language: free operators, reserved words, subscripts, look-alikes.

Maps every Unicode and ASCII spelling of a name or symbol to one canonical form.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal


@dataclass(frozen=True, slots=True)
class Spelling:
    """Free operator as written in Unicode, in ASCII, and as a word in a state_dict."""

    unicode: str
    ascii: str
    word: str
    fixity: Literal["infix", "prefix"]


SPELLINGS: Final = (
    Spelling("⊕", "(+)", "plus", "infix"),
    Spelling("⊗", "(*)", "times", "infix"),
    Spelling("⊖", "(-)", "minus", "infix"),
    Spelling("⊛", "(**)", "star", "infix"),
    Spelling("⊞", "[+]", "boxplus", "infix"),
    Spelling("⊠", "[*]", "boxtimes", "infix"),
    Spelling("▷", "|>", "predict", "prefix"),
    Spelling("◁", "<|", "left", "prefix"),
    Spelling("△", "/\\", "up", "prefix"),
    Spelling("▽", "\\/", "down", "prefix"),
)
_UNICODE_SYMBOLS: Final = {s.ascii: s.unicode for s in SPELLINGS} | {
    s.unicode: s.unicode for s in SPELLINGS
}
OPERATOR_WORDS: Final = {s.unicode: s.word for s in SPELLINGS}

RESERVED_WORDS: Final = frozenset(
    [
        "use",
        "from",
        "model",
        "operator",
        "for",
        "in",
        "if",
        "else",
        "input",
        "state",
        "output",
        "param",
        "law",
        "loss",
        "weight",
        "at",
        "end",
        "and",
        "or",
        "not",
        "real",
        "binary",
        "symbol",
        "t",
    ]
)

CHARACTER_HINTS: Final[dict[str, str]] = {
    "′": "write a plain apostrophe: `h'`",
    "’": "write a plain apostrophe: `h'`",
    "‘": "write a plain apostrophe: `h'`",
    "´": "write a plain apostrophe: `h'`",
    "`": "write a plain apostrophe: `h'`",
    "−": "write a plain minus: `-`",
    "–": "write a plain minus: `-`",
    "—": "write a plain minus: `-`",
    "×": "write `*` or `⊙` for the elementwise product, and `W h` for matrix times vector",
    "·": "write `*` or `⊙` for the elementwise product, and `dot(a, b)` for the scalar product",
    "⋅": "write `*` or `⊙` for the elementwise product, and `dot(a, b)` for the scalar product",
    "•": "write `*` or `⊙` for the elementwise product",
    "∘": "write `*` or `⊙` for the elementwise product",
    "∗": "write `*` or `⊙` for the elementwise product",
    "@": "write the product of a matrix and a vector side by side: `W h`",
    "^": "write a square as `x * x`, a transpose as `W^T`, a power of constants as `2**n`",
    "²": "write a square as `x * x`",
    "³": "write a cube as `x * x * x`",
    "ᵀ": "a transpose stands right behind the name of a matrix: `Wᵀ h`",
    "√": "write `sqrt(z)`",
    "∑": "write `sum(z)`",
    "\u00a0": "this is a no-break space; write a plain space",
    "\u3000": "this is an ideographic space; write a plain space",
    "\u200b": "this is an invisible zero-width space; delete it",
    "\ufeff": "this is a byte-order mark in the middle of the file; delete it",
    "＝": "write a plain `=`",
    "（": "write a plain `(`",
    "）": "write a plain `)`",
    "，": "write a plain `,`",
    "：": "write a plain `:`",
    "⨁": "write `⊕` or `(+)`",
    "▶": "write `▷` or `|>`",
    "►": "write `▷` or `|>`",
    "▹": "write `▷` or `|>`",
    "⊳": "write `▷` or `|>`",
    "⊲": "write `◁` or `<|`",
    "≃": "write `≈` or `~=`",
    "≅": "write `≈` or `~=`",
    "~": "the sign of a law is `≈` or `~=`",
    "≤": "write `<=`",
    "≥": "write `>=`",
    "≠": "write `!=`",
    "∈": "write `in`",
    "→": "an equation is written with `=`",
    "←": "an equation is written with `=`",
    "≔": "an equation is written with `=`",
    "∙": "write `*` or `⊙` for the elementwise product",
    "$": "there is no TeX in a spec; comments begin with `#`",
    "…": "write a range as `1..n`",
    ".": "a number has digits on both sides of its point (`0.5`, `5.0`); a range is `1..n`",
    "{": "a computed subscript is `h_{l-1}`",
    "}": "a computed subscript is `h_{l-1}`",
    "|": "the operator ▷ is `|>` in ASCII",
    "&": "write `and`",
    "!": "write `not`",
    "\\": "the operators △ and ▽ are `/\\` and `\\/` in ASCII",
    '"': "there are no strings in the language",
    "'": "a prime stands right behind a name: `h'`",
    "_": "a name begins with a letter",
    ";": "a semicolon stands in a concatenation, `[a ; b]`; statements go on lines of their own",
    "\x00": "the file holds a NUL byte: is it a text file?",
}

_SUBSCRIPT_DIGITS: Final = str.maketrans("₀₁₂₃₄₅₆₇₈₉", "0123456789")
_SUBSCRIPT_SUFFIX: Final = re.compile(r"_?([₀-₉]+)$")


def canonical_name(text: str) -> str:
    """Return the canonical spelling of a name: `h₁` and `h_01` become `h_1`."""
    text = _SUBSCRIPT_SUFFIX.sub(lambda match: "_" + match[1].translate(_SUBSCRIPT_DIGITS), text)
    if "_" not in text:
        return text
    stem, *indices = text.split("_")
    return "_".join([stem, *map(_normalize_index, indices)])


def canonical_symbol(text: str) -> str:
    """Return the canonical spelling of a free operator: `(+)₁` and `(+)_1` become `⊕_1`."""
    for ascii_, unicode_ in _UNICODE_SYMBOLS.items():
        if text.startswith(ascii_):
            return unicode_ + canonical_name(text[len(ascii_) :])
    raise AssertionError(text)


def _normalize_index(part: str) -> str:
    # At most 19 digits: int() raises on more than 4,300, and no index needs so many.
    return str(int(part)) if part.isdecimal() and part.isascii() and len(part) < 20 else part


def ascii_name(name: str) -> str:
    """Return an operator's name in a state_dict: `⊕_1` is `plus_1`; other names stay."""
    return OPERATOR_WORDS[name[0]] + name[1:] if name[0] in OPERATOR_WORDS else name


def display_name(name: str) -> str:
    """Return a canonical name as the language prints it: `h_1` stays, `⊕_1` is `⊕₁`."""
    if name[0] in OPERATOR_WORDS and re.fullmatch(r".(?:_[0-9]+)?", name):
        return name[0] + name[2:].translate(str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉"))
    return name
