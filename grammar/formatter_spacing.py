"""The canonical spelling of each token of a statement, and the space between two of them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from lark import Token

from .symbols import SPELLINGS, canonical_name, canonical_symbol, display_name

Bracket = Literal["time", "type", "subscript", "other"]

_ASCII: Final = {spelling.unicode: spelling.ascii for spelling in SPELLINGS}
_TIGHT_BEFORE: Final = frozenset(
    {"COMMA", "COLON", "RPAR", "RSQB", "RBRACE", "PRIME", "TRANSPOSE", "SUBSCRIPT_OPEN"}
)
_TIGHT_BEHIND: Final = frozenset({"LPAR", "LSQB", "SUBSCRIPT_OPEN"})
_ALWAYS_TIGHT: Final = frozenset({"RANGE", "POWER"})
_ARITHMETIC: Final = frozenset(
    {"PLUS", "MINUS", "STAR", "ODOT", "SLASH", "FLOOR_DIVIDE", "PERCENT"}
)
_VALUES: Final = frozenset(
    {"NAME", "NUMBER", "RPAR", "RSQB", "RBRACE", "PRIME", "TRANSPOSE", "TYPE", "END"}
)
"""Tokens that end a value: a minus behind one of them is a difference."""

_LETTERED: Final = re.compile(r"_[^\W\d_]\w*$")
_NUMBERED: Final = re.compile(r"([^_]+)_([0-9]+)")
_SUBSCRIPTS: Final = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")


@dataclass(frozen=True, slots=True)
class Words:
    """What the names of one file are.

    `operators` are called, `f(x)`; `parameters` stand before a vector, `W (x)`; `constants` are
    given a number in a header; `stems` have computed subscripts, so `z_0` goes with `z_{l-1}`.
    """

    operators: frozenset[str]
    parameters: frozenset[str]
    constants: frozenset[str]
    stems: frozenset[str]


def words(statements: Iterable[Sequence[Token]]) -> Words:
    """Collect what the names of a file are."""
    operators: set[str] = set()
    parameters: set[str] = set()
    constants: set[str] = set()
    stems: set[str] = set()
    for tokens in statements:
        following = [token.type for token in tokens[1:]] + [""]
        for token, after in zip(tokens, following, strict=True):
            if token.type != "NAME":
                continue
            name = canonical_name(token)
            if after == "SUBSCRIPT_OPEN" or _LETTERED.search(name):
                stems.add(name.split("_")[0])
        if not tokens or tokens[0].type not in {"OPERATOR", "MODEL", "USE", "PARAM", "FOR"}:
            continue
        if tokens[0].type == "FOR":
            constants.add(canonical_name(tokens[1]))
            continue
        found = parameters if tokens[0].type == "PARAM" else operators
        for index, token in enumerate(tokens[1:], 1):
            if token.type in {"COLON", "FROM", "LPAR"} or following[index - 1] == "EQUAL":
                found = set()
            if token.type != "NAME":
                continue
            found.add(canonical_name(token))
            if following[index] == "EQUAL":
                constants.add(canonical_name(token))
    return Words(*map(frozenset, (operators, parameters, constants, stems)))


class Spacing:
    """One statement's tokens with what is known of their brackets."""

    def __init__(self, tokens: Sequence[Token], words: Words, *, ascii_only: bool) -> None:
        self.tokens, self.words, self.ascii_only = tokens, words, ascii_only
        self.inside: list[Bracket | None] = []
        self.kinds: dict[int, Bracket] = {}
        self.opened: dict[int, int] = {}
        self.closed: dict[int, int] = {}
        self._read_brackets()

    def text(self, indices: range) -> str:
        """Some neighbouring tokens as they are written on one line."""
        parts: list[str] = []
        for index in indices:
            if parts and self._gap(index):
                parts.append(" ")
            parts.append(self._spelling(index))
        return "".join(parts)

    def _read_brackets(self) -> None:
        stack: list[int] = []
        for index, token in enumerate(self.tokens):
            if token.type in {"RPAR", "RSQB", "RBRACE"} and stack:
                self.opened[index] = stack.pop()
            self.inside.append(self.kinds[stack[-1]] if stack else None)
            if token.type in {"LPAR", "LSQB", "SUBSCRIPT_OPEN"}:
                around = self.inside[index]
                inner = around if around in {"time", "subscript"} else self._kind(index)
                self.kinds[index] = inner
                stack.append(index)
        self.closed = {opening: closing for closing, opening in self.opened.items()}

    def _kind(self, index: int) -> Bracket:
        token = self.tokens[index]
        before = self.tokens[index - 1].type if index else ""
        if token.type == "SUBSCRIPT_OPEN":
            return "subscript"
        if token.type == "LSQB" and before == "TYPE":
            return "type"
        if token.type == "LSQB" and self._name_before(index) and not self._is_concatenation(index):
            return "time"
        return "other"

    def _is_concatenation(self, index: int) -> bool:
        depth = 0
        for token in self.tokens[index:]:
            depth += token.type in {"LPAR", "LSQB", "SUBSCRIPT_OPEN"}
            depth -= token.type in {"RPAR", "RSQB", "RBRACE"}
            if depth == 1 and token.type == "SEMICOLON":
                return True
            if depth == 0:
                break
        return False

    def _name_before(self, index: int) -> str:
        """The name that ends right before a token, its computed subscripts apart."""
        index -= 1
        while index > 0 and self.tokens[index].type == "RBRACE":
            index = self.opened.get(index, 0) - 1
        found = index >= 0 and self.tokens[index].type == "NAME"
        return canonical_name(self.tokens[index]) if found else ""

    def _is_call(self, index: int) -> bool:
        name = self._name_before(index)
        if not name or name in self.words.parameters:
            return False
        return name in self.words.operators or not name[0].isupper()

    def _is_sign(self, index: int) -> bool:
        is_minus = self.tokens[index].type == "MINUS"
        return is_minus and (index == 0 or self.tokens[index - 1].type not in _VALUES)

    def _gap(self, index: int) -> bool:
        """Whether a space stands between a token and the one before it."""
        before, kind = self.tokens[index - 1].type, self.tokens[index].type
        if kind in _TIGHT_BEFORE or before in _TIGHT_BEHIND:
            return False
        if {before, kind} & _ALWAYS_TIGHT or self._is_sign(index - 1):
            return False
        if kind == "LSQB":
            return self.kinds[index] == "other"
        if kind == "LPAR":
            return not self._is_call(index)
        pair = {before, kind}
        is_tight = self.inside[index] in {"time", "subscript"} and pair & _ARITHMETIC
        return not is_tight or bool(pair & {"PREFIX", "INFIX"})

    def _spelling(self, index: int) -> str:
        token = self.tokens[index]
        match token.type:
            case "INFIX" | "PREFIX":
                name = canonical_symbol(token)
                return _ASCII[name[0]] + name[1:] if self.ascii_only else display_name(name)
            case "NAME":
                return self._name(canonical_name(token))
            case "TRANSPOSE":
                return "^T" if self.ascii_only else "ᵀ"
            case "ALMOST":
                return "~=" if self.ascii_only else "≈"
            case "STAR" | "ODOT":
                return "*" if self.ascii_only or self._is_of_numbers(index) else "⊙"
            case _:
                return str(token)

    def _name(self, name: str) -> str:
        if name in {"sigmoid", "σ"}:
            return "sigmoid" if self.ascii_only else "σ"
        numbered = _NUMBERED.fullmatch(name)
        if numbered and not self.ascii_only and numbered[1] not in self.words.stems:
            return numbered[1] + numbered[2].translate(_SUBSCRIPTS)
        return name

    def _is_of_numbers(self, index: int) -> bool:
        """Whether a product is one of constants, written `2 * n`, and not elementwise."""
        if self.inside[index] in {"time", "type", "subscript"}:
            return True
        if self.tokens[0].type in {"FOR", "IF", "MODEL", "INPUT", "STATE", "OUTPUT"}:
            return True
        first = index - 1
        if self.tokens[first].type == "RPAR":
            first = self.opened.get(first, 0)
        last = index + 1
        if last < len(self.tokens) and self.tokens[last].type == "LPAR":
            last = self.closed.get(last, last)
        return self._is_constant(first, index) or self._is_constant(index + 1, last + 1)

    def _is_constant(self, start: int, stop: int) -> bool:
        """Whether the tokens of an operand are numbers and names of constants alone."""
        if start and self.tokens[start].type == "LPAR" and self._name_before(start):
            return False
        values = [token for token in self.tokens[start:stop] if token.type in {"NUMBER", "NAME"}]
        return bool(values) and all(
            token.type == "NUMBER" or canonical_name(token) in self.words.constants
            for token in values
        )
