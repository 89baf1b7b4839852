"""Explain lines that do not parse: find the mistake and suggest a correction.

Input: lark's UnexpectedInput and the line; output: one diagnostic, with the first hint whose
pattern matches the text before and at the unexpected token.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

from lark import Token
from lark.exceptions import UnexpectedCharacters, UnexpectedInput, UnexpectedToken

from rnnc.grammar.diagnostics.diagnostic import Label
from rnnc.grammar.diagnostics.report import Report

from .source import Source, Span
from .symbols import CHARACTER_HINTS, RESERVED_WORDS

_OPENING_BRACKETS: Final = {")": "(", "]": "[", "}": "{"}
_BLOCK_KEYWORDS: Final = frozenset({"model", "operator", "for", "if", "else"})
_DECLARATION_KEYWORDS: Final = frozenset({"input", "state", "output"})
_TYPE_KEYWORDS: Final = frozenset({"real", "binary", "symbol"})
_PREFIX_SYMBOLS: Final = "▷◁△▽"

# (pattern of text before, NUL, unexpected token) -> hint; the first match wins
_HINT_PATTERNS: Final[tuple[tuple[re.Pattern[str], str], ...]] = tuple(
    (re.compile(pattern), hint)
    for pattern, hint in (
        (r"if\b[^=]*\S\s*\0=$", "a comparison is written `==`"),
        (r"else\s*\0if$", "`else:` stands alone on its line; an `if` goes into its block"),
        (r"else\b.*\0", "`else:` stands alone on its line"),
        (r"use\b.*\0", "write `use lstm, gru from gated`"),
        (r"for\b.*\0", "write `for l in 1..layers:`"),
        (r"law\b.*\0weight$", "a law has two sides: `law a ⊕ b ≈ b ⊕ a weight 0.1`"),
        (r"law\b.*\0=$", "the two sides of a law are joined by `≈` or `~=`"),
        (r"\w+'?\s*\0==$", "an equation is written with one `=`; `==` compares in an `if`"),
        (r"\w+'?\s*:\s*\0=$", "an equation is written with `=`"),
        (r"\w+'?\s*\0<$", "an equation is written with `=`"),
        (r"\w+'?\s*[-+*/]\s*\0=$", "write the whole equation: `z = z_0 + …`"),
        (r"param\s+\w+\s*\0=$", "`param` says something of weights; a size stands in the "
         "model's header: `model name(hidden = 400):`"),
        (r".*'\s*\0'$", "one prime is the step's new value; other times are `h[t-2]`"),
        (r".*\[[^\]]*\0,$", "the parts of a concatenation are separated by `;`: `[a ; b]`"),
        (r".*\0;$", CHARACTER_HINTS[";"]),
        (r"operator\b[^=]*:\s*\0", "a definition on one line has `=`: "
         "`operator x ⊕ h = tanh(W h + U x + b)`"),
        (r"operator\b.*=\s*\0", "right of the `=` stands the name of a definition: "
         "`operator ⊕₁, ⊕₂ = lstm`"),
        (r".*\.\s*\0\d", CHARACTER_HINTS["."]),
        (r".*\d\0,$", "decimals have a point: `0.5`"),
        (r"(?:input|state|output)\b.*\b(?:real|binary|symbol)\s*\0\($", "sizes stand in square "
         "brackets: `real[200]`"),
        (r"(?:input|state|output)\s+\w+\s+\0\w+", "names are separated by commas: "
         "`state h, c: real[200]`"),
        (r"output\b[^:]*:.+\0un\w*$", "an output without a loss of its own is `unscored`: "
         "`output y: real[3] unscored`"),
        (r"(?:input|state|output)\b[^:]*:\s*\0", "the types are `real[n]`, `binary[n]` and "
         "`symbol[n]`"),
        (r"(?:input|state|output)\b.*\0", "write `state h: real[200]`, a name and a type"),
        (r".*=.*\0:$", "an annotation stands left of the `=`: `z: real[400] = …`"),
        (r".*\0(?:[▷◁△▽]|\|>|<\||/\\|\\/)", "an operator before another item needs parentheses: "
         "`W (▷ h)`"),
        (r".*[-+*/⊙=(\[,;⊕⊗⊖⊛⊞⊠]\s*\0[*/⊙=),;:\]⊕⊗⊖⊛⊞⊠]", "a value is missing before it"),
        (r"[^=]*\0(?:<=?|>=?|!=|==)$", "comparisons choose parts of a spec: `if layers > 1:`"),
        (r".*\0(?:<=?|>=?|!=|==)$", "comparisons choose parts of a spec: `if layers > 1:`; "
         "an equation holds values"),
    )
)  # fmt: skip


@dataclass(slots=True)
class SyntaxErrorReporter:
    """Reporter of the unreadable lines of one source, each mistake once."""

    report: Report
    _reported_words: set[str] = field(default_factory=set)

    def report_unexpected(self, error: UnexpectedInput, span: Span) -> None:
        """Report the reason why a line does not parse."""
        if isinstance(error, UnexpectedCharacters):
            self._report_character(span.source, error.pos_in_stream or span.start)
            return
        assert isinstance(error, UnexpectedToken)
        token: Token = error.token
        if token.type == "$END":
            self._report_line_end(span)
            return
        assert token.start_pos is not None
        assert token.end_pos is not None
        self._report_token(span, Span(span.source, token.start_pos, token.end_pos))

    def report_reserved_word(self, span: Span, name: str = "") -> None:
        """Report a reserved word used as a name, once for each word."""
        name = name or span.text
        if name in self._reported_words:
            return
        self._reported_words.add(name)
        self.report.error(
            "RNN108",
            f"`{name}` is a reserved word",
            span,
            "cannot be a name",
            hint="`t` is the current time; choose another name"
            if name == "t"
            else f"choose another name, such as `{name}_1`",
        )

    def _report_token(self, span: Span, token_span: Span) -> None:
        before, word = span.source.text[span.start : token_span.start], token_span.text
        hint = next((h for p, h in _HINT_PATTERNS if p.match(f"{before}\0{word}")), "")
        keyword = before.split(None, 1)[0] if before.strip() else ""
        name_match = (
            re.search(r"(\w+)\s*$", before)
            if word in _TYPE_KEYWORDS and "=" not in before
            else None
        )
        if name_match and name_match[1] not in RESERVED_WORDS:
            self.report.error(
                "RNN102",
                "a colon is missing",
                token_span,
                "before the type",
                hint=f"a name and its type are joined by a colon: `{name_match[1]}: {word}`",
            )
        elif before.strip() in RESERVED_WORDS and word in {"=", "'", ":", ","}:
            self.report_reserved_word(
                Span(span.source, span.start, span.start + len(before.rstrip()))
            )
        elif word in RESERVED_WORDS and (not hint or keyword in _DECLARATION_KEYWORDS):
            self.report_reserved_word(token_span)
        elif (
            word in _OPENING_BRACKETS and (opening_offset := _last_open_bracket(before)) is not None
        ):
            self._report_mismatched_bracket(span, token_span, opening_offset)
        elif word in _OPENING_BRACKETS:
            self.report.error(
                "RNN103",
                f"`{word}` closes nothing",
                token_span,
                "no bracket is open",
                hint="delete it",
            )
        else:
            self.report.error(
                "RNN102",
                f"`{word}` cannot stand here",
                token_span,
                "not expected here",
                hint=hint or "a line is one statement: a declaration, an equation `z = …`, …",
            )

    def _report_mismatched_bracket(self, span: Span, token_span: Span, opening_offset: int) -> None:
        """Report a closing bracket of another kind, or one right after an operator."""
        start = span.start + opening_offset
        bracket = span.source.text[start]
        if _OPENING_BRACKETS[token_span.text] == bracket:
            self.report.error(
                "RNN102",
                f"`{token_span.text}` cannot stand here",
                token_span,
                "something is missing before it",
                hint="the brackets hold a value, or several separated by commas",
            )
            return
        closing = {o: c for c, o in _OPENING_BRACKETS.items()}[bracket]
        self.report.error(
            "RNN103",
            f"`{token_span.text}` closes a `{bracket}`",
            token_span,
            f"`{closing}` belongs here",
            related=(Label(Span(span.source, start, start + 1), "opened here"),),
            hint=f"a `{bracket}` is closed by `{closing}`",
        )

    def _report_character(self, source: Source, offset: int) -> None:
        character = source.text[offset]
        span = Span(source, offset, offset + 1)
        shown = character if character.isprintable() and not character.isspace() else ""
        shown = shown or f"U+{ord(character):04X}"
        hint = CHARACTER_HINTS.get(character, "")
        if character == ".":
            self.report.error("RNN106", "a number is cut off at its point", span, "here", hint=hint)
        elif character in "₀₁₂₃₄₅₆₇₈₉":
            self.report.error(
                "RNN102",
                f"the subscript `{character}` stands alone",
                span,
                hint="a subscript comes right behind the name, before a prime: `h₁'`",
            )
        else:
            self.report.error(
                "RNN115" if hint else "RNN101",
                f"`{shown}` is not a character of the language",
                span,
                hint=hint or "comments begin with `#`; names are letters, digits and underscores",
            )

    def _report_line_end(self, span: Span) -> None:
        text = span.text
        keyword = text.split(None, 1)[0]
        end = Span(span.source, max(span.start, span.end - 1), span.end)
        if text in RESERVED_WORDS and text not in _BLOCK_KEYWORDS | _DECLARATION_KEYWORDS:
            self.report_reserved_word(span)
            return
        message, hint = "the line ends too early", ""
        if keyword in _BLOCK_KEYWORDS and not text.endswith(":"):
            message, hint = "a colon is missing", "the header of a block ends in a colon"
            if keyword == "operator":
                message = "the definition ends too early"
                hint = "write `operator x ⊕ h = …` on one line, or end the header in a colon"
        elif keyword in _DECLARATION_KEYWORDS and ":" not in text:
            hint = f"a declaration needs a type: `{text}: real[200]`"
        elif keyword in _DECLARATION_KEYWORDS:
            hint = "the types are `real[n]`, `binary[n]` and `symbol[n]`"
        elif keyword == "param":
            hint = "write `param W: orthogonal`, a name and what is said of it"
        elif keyword == "law":
            hint = "a law has two sides: `law a ⊕ b ≈ b ⊕ a weight 0.1`"
        elif keyword == "use":
            hint = "write `use lstm, gru from gated`"
        elif keyword in {"def", "class", "while"}:
            hint = "an operator is defined by `operator x ⊕ h:`, and there are no loops over time"
        elif text[-1] in "+-*/⊙=⊕⊗⊖⊛⊞⊠" + _PREFIX_SYMBOLS:
            hint = f"a value is missing behind `{text[-1]}`; a line goes on only inside brackets"
        self.report.error("RNN102", message, end, "something is missing here", hint=hint)


def _last_open_bracket(text: str) -> int | None:
    """Return the offset of the innermost open bracket, or None."""
    open_offsets: list[int] = []
    for offset, character in enumerate(text):
        if character in "([{":
            open_offsets.append(offset)
        elif character in _OPENING_BRACKETS and open_offsets:
            open_offsets.pop()
    return open_offsets[-1] if open_offsets else None
