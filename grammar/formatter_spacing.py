"""Decide the canonical spelling of each token and the spaces between tokens."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from lark import Token

from .symbols import SPELLINGS, canonical_name, canonical_symbol, display_name

BracketKind = Literal["time", "type", "subscript", "other"]

_ASCII_SYMBOLS: Final = {spelling.unicode: spelling.ascii for spelling in SPELLINGS}
_TIGHT_BEFORE: Final = frozenset(
    {"COMMA", "COLON", "RPAR", "RSQB", "RBRACE", "PRIME", "TRANSPOSE", "SUBSCRIPT_OPEN"}
)
_TIGHT_AFTER: Final = frozenset({"LPAR", "LSQB", "SUBSCRIPT_OPEN"})
_TIGHT_AROUND: Final = frozenset({"RANGE", "POWER"})
_ARITHMETIC: Final = frozenset(
    {"PLUS", "MINUS", "STAR", "ODOT", "SLASH", "FLOOR_DIVIDE", "PERCENT"}
)
_VALUE_ENDS: Final = frozenset(
    {"NAME", "NUMBER", "RPAR", "RSQB", "RBRACE", "PRIME", "TRANSPOSE", "TYPE", "END"}
)
"""Tokens that end a value: a minus after one of them subtracts."""

_LETTER_SUBSCRIPT: Final = re.compile(r"_[^\W\d_]\w*$")
_NUMERIC_SUBSCRIPT: Final = re.compile(r"([^_]+)_([0-9]+)")
_SUBSCRIPT_DIGITS: Final = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")


@dataclass(frozen=True, slots=True)
class NameRoles:
    """Names of one file by their role.

    `operators` are called, `f(x)`; `parameters` stand before a vector, `W (x)`; `constants` are
    given a number in a header; `stems` have computed subscripts, so `z_0` goes with `z_{l-1}`.
    """

    operators: frozenset[str]
    parameters: frozenset[str]
    constants: frozenset[str]
    stems: frozenset[str]


def classify_names(statements: Iterable[Sequence[Token]]) -> NameRoles:
    """Collect the names of a file by their role."""
    operators: set[str] = set()
    parameters: set[str] = set()
    constants: set[str] = set()
    stems: set[str] = set()
    for tokens in statements:
        next_types = [token.type for token in tokens[1:]] + [""]
        for token, next_type in zip(tokens, next_types, strict=True):
            if token.type != "NAME":
                continue
            name = canonical_name(token)
            if next_type == "SUBSCRIPT_OPEN" or _LETTER_SUBSCRIPT.search(name):
                stems.add(name.split("_")[0])
        if not tokens or tokens[0].type not in {"OPERATOR", "MODEL", "USE", "PARAM", "FOR"}:
            continue
        if tokens[0].type == "FOR":
            constants.add(canonical_name(tokens[1]))
            continue
        role = parameters if tokens[0].type == "PARAM" else operators
        for index, token in enumerate(tokens[1:], 1):
            if token.type in {"COLON", "FROM", "LPAR"} or next_types[index - 1] == "EQUAL":
                role = set()
            if token.type != "NAME":
                continue
            role.add(canonical_name(token))
            if next_types[index] == "EQUAL":
                constants.add(canonical_name(token))
    return NameRoles(*map(frozenset, (operators, parameters, constants, stems)))


class StatementFormatter:
    """Tokens of one statement with their matching brackets."""

    def __init__(self, tokens: Sequence[Token], words: NameRoles, *, ascii_only: bool) -> None:
        self.tokens, self.names, self.ascii_only = tokens, words, ascii_only
        self.enclosing: list[BracketKind | None] = []
        self.kinds: dict[int, BracketKind] = {}
        self.opening_index: dict[int, int] = {}
        self.closing_index: dict[int, int] = {}
        self._match_brackets()

    def format(self, indices: range) -> str:
        """Format neighboring tokens of one text line."""
        parts: list[str] = []
        for index in indices:
            if parts and self._needs_space(index):
                parts.append(" ")
            parts.append(self._spell_token(index))
        return "".join(parts)

    def _match_brackets(self) -> None:
        stack: list[int] = []
        for index, token in enumerate(self.tokens):
            if token.type in {"RPAR", "RSQB", "RBRACE"} and stack:
                self.opening_index[index] = stack.pop()
            self.enclosing.append(self.kinds[stack[-1]] if stack else None)
            if token.type in {"LPAR", "LSQB", "SUBSCRIPT_OPEN"}:
                outer = self.enclosing[index]
                kind = outer if outer in {"time", "subscript"} else self._bracket_kind(index)
                self.kinds[index] = kind
                stack.append(index)
        self.closing_index = {opening: closing for closing, opening in self.opening_index.items()}

    def _bracket_kind(self, index: int) -> BracketKind:
        token = self.tokens[index]
        previous = self.tokens[index - 1].type if index else ""
        if token.type == "SUBSCRIPT_OPEN":
            return "subscript"
        if token.type == "LSQB" and previous == "TYPE":
            return "type"
        if (
            token.type == "LSQB"
            and self._preceding_name(index)
            and not self._is_concatenation(index)
        ):
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

    def _preceding_name(self, index: int) -> str:
        """Return the name that ends right before a token, without its computed subscripts."""
        index -= 1
        while index > 0 and self.tokens[index].type == "RBRACE":
            index = self.opening_index.get(index, 0) - 1
        is_name = index >= 0 and self.tokens[index].type == "NAME"
        return canonical_name(self.tokens[index]) if is_name else ""

    def _is_call(self, index: int) -> bool:
        name = self._preceding_name(index)
        if not name or name in self.names.parameters:
            return False
        return name in self.names.operators or not name[0].isupper()

    def _is_sign(self, index: int) -> bool:
        is_minus = self.tokens[index].type == "MINUS"
        return is_minus and (index == 0 or self.tokens[index - 1].type not in _VALUE_ENDS)

    def _needs_space(self, index: int) -> bool:
        """Return true if a space separates a token from the one before it."""
        previous, kind = self.tokens[index - 1].type, self.tokens[index].type
        if kind in _TIGHT_BEFORE or previous in _TIGHT_AFTER:
            return False
        if {previous, kind} & _TIGHT_AROUND or self._is_sign(index - 1):
            return False
        if kind == "LSQB":
            return self.kinds[index] == "other"
        if kind == "LPAR":
            return not self._is_call(index)
        pair = {previous, kind}
        is_tight = self.enclosing[index] in {"time", "subscript"} and pair & _ARITHMETIC
        return not is_tight or bool(pair & {"PREFIX", "INFIX"})

    def _spell_token(self, index: int) -> str:
        token = self.tokens[index]
        match token.type:
            case "INFIX" | "PREFIX":
                name = canonical_symbol(token)
                return _ASCII_SYMBOLS[name[0]] + name[1:] if self.ascii_only else display_name(name)
            case "NAME":
                return self._spell_name(canonical_name(token))
            case "TRANSPOSE":
                return "^T" if self.ascii_only else "ᵀ"
            case "ALMOST":
                return "~=" if self.ascii_only else "≈"
            case "STAR" | "ODOT":
                return "*" if self.ascii_only or self._is_constant_product(index) else "⊙"
            case _:
                return str(token)

    def _spell_name(self, name: str) -> str:
        if name in {"sigmoid", "σ"}:
            return "sigmoid" if self.ascii_only else "σ"
        numbered = _NUMERIC_SUBSCRIPT.fullmatch(name)
        if numbered and not self.ascii_only and numbered[1] not in self.names.stems:
            return numbered[1] + numbered[2].translate(_SUBSCRIPT_DIGITS)
        return name

    def _is_constant_product(self, index: int) -> bool:
        """Return true for a product of constants, written `2 * n` instead of `⊙`."""
        if self.enclosing[index] in {"time", "type", "subscript"}:
            return True
        if self.tokens[0].type in {"FOR", "IF", "MODEL", "INPUT", "STATE", "OUTPUT"}:
            return True
        first = index - 1
        if self.tokens[first].type == "RPAR":
            first = self.opening_index.get(first, 0)
        last = index + 1
        if last < len(self.tokens) and self.tokens[last].type == "LPAR":
            last = self.closing_index.get(last, last)
        return self._is_constant(first, index) or self._is_constant(index + 1, last + 1)

    def _is_constant(self, start: int, stop: int) -> bool:
        """Return true if an operand consists of numbers and names of constants."""
        if start and self.tokens[start].type == "LPAR" and self._preceding_name(start):
            return False
        values = [token for token in self.tokens[start:stop] if token.type in {"NUMBER", "NAME"}]
        return bool(values) and all(
            token.type == "NUMBER" or canonical_name(token) in self.names.constants
            for token in values
        )
