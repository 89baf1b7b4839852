"""Build expressions of the syntax tree from lark's parse events (a bottom-up transformer).

Methods named as the rules of rnn.lark are called by the parser, innermost first.
"""

from __future__ import annotations

from typing import Any, Literal, cast

from lark import Token, Transformer

from rnnc.grammar.diagnostics.report import Report

from . import syntax
from .constant_eval import MAX_REAL
from .source import Source, Span
from .symbols import canonical_name, canonical_symbol
from .syntax_errors import SyntaxErrorReporter

Items = list[Any]
NUMBER_LIMIT = 40
"""Maximal number of characters of a number, far below the 4,300 digits that int() reads."""


class ExpressionBuilder(Transformer[Token, Any]):
    """Lark transformer from the rules of expressions to tree nodes."""

    source: Source
    report: Report
    syntax_errors: SyntaxErrorReporter

    def set_source(self, source: Source, report: Report) -> None:
        """Set the source and report of the following parse events."""
        self.source, self.report = source, report
        self.syntax_errors = SyntaxErrorReporter(report)

    def _span_of(self, item: Any) -> Span:
        if isinstance(item, Token):
            assert item.start_pos is not None
            assert item.end_pos is not None
            return Span(self.source, item.start_pos, item.end_pos)
        return cast(Span, item.span)

    def _full_span(self, items: Items) -> Span:
        return Span(self.source, self._span_of(items[0]).start, self._span_of(items[-1]).end)

    def name(self, items: Items) -> syntax.Name:
        """Build `h`, `h₁`, `z_{l-1}`."""
        return syntax.Name(canonical_name(items[0]), self._full_span(items), _indices(items))

    def infix_symbol(self, items: Items) -> syntax.Symbol:
        """Build `⊕`, `(+)_1`, `⊕_{l}`."""
        return self._build_symbol(items, "infix")

    def prefix_symbol(self, items: Items) -> syntax.Symbol:
        """Build `▷`, `|>_1`."""
        return self._build_symbol(items, "prefix")

    def _build_symbol(self, items: Items, fixity: Literal["infix", "prefix"]) -> syntax.Symbol:
        name = canonical_symbol(items[0])
        return syntax.Symbol(name, fixity, self._full_span(items), _indices(items))

    def subscript(self, items: Items) -> _Subscript:
        """Build `_{l-1}`."""
        return _Subscript(items[1], self._full_span(items))

    def number(self, items: Items) -> syntax.Number:
        """Build `3`, `0.5`, `1e-3`."""
        text, span = str(items[0]), self._full_span(items)
        if len(text) > NUMBER_LIMIT:
            self.report.error(
                "RNN107",
                f"a number has more than {NUMBER_LIMIT} characters",
                span,
                hint="write it as `1e-30`",
            )
            return syntax.Number(1, span)
        value = int(text) if text.isdecimal() else float(text)
        if value > MAX_REAL:
            self.report.error(
                "RNN106",
                f"`{text}` is too large for a number",
                span,
                hint=f"numbers go up to {MAX_REAL:g}, which float32 can hold",
            )
            value = 1
        return syntax.Number(value, span)

    def primed(self, items: Items) -> syntax.Primed:
        """Build `h'`."""
        return syntax.Primed(items[0], self._full_span(items))

    def transposed(self, items: Items) -> syntax.Transposed:
        """Build `Wᵀ`."""
        return syntax.Transposed(items[0], self._full_span(items))

    def argument(self, items: Items) -> syntax.Argument:
        """Wrap a plain expression; lark skips this rule, `_as_argument` does its work."""
        return self._as_argument(items[0])

    def typed(self, items: Items) -> syntax.Argument:
        """Build `x: real[m]`."""
        return syntax.Argument(items[0], self._full_span(items), type=items[2])

    def keyword(self, items: Items) -> syntax.Argument:
        """Build `layers = 2`."""
        span = self._full_span(items)
        if not isinstance(items[0], syntax.Name) or items[0].indices:
            self.report.error(
                "RNN102",
                "only a name can stand left of this `=`",
                self._span_of(items[0]),
                hint="an argument by name is `layers = 2`",
            )
            names = [i for i in getattr(items[0], "items", ()) if isinstance(i, syntax.Name)]
            name = names[0] if names else syntax.Name("_", self._span_of(items[0]))
            return syntax.Argument(items[2], span, keyword=name)
        return syntax.Argument(items[2], span, keyword=items[0])

    def _as_argument(self, item: Any) -> syntax.Argument:
        if isinstance(item, syntax.Argument):
            return item
        return syntax.Argument(item, item.span)

    def parentheses(self, items: Items) -> syntax.Parentheses:
        """Build `(a)`, `(a, b)`, `()`."""
        parts = tuple(self._as_argument(item) for item in items if not isinstance(item, Token))
        return syntax.Parentheses(parts, self._full_span(items))

    def bracket(self, items: Items) -> syntax.Concatenation:
        """Build `[a ; b]`, or a time if it follows a name."""
        parts = tuple(item for item in items if not isinstance(item, Token))
        return syntax.Concatenation(parts, self._full_span(items))

    def window(self, items: Items) -> _Range:
        """Build `[t-99..t]`."""
        return _Range(items[1], items[3], self._full_span(items))

    def run(self, items: Items) -> syntax.Expression:
        """Build a juxtaposition, or its only item; `[t-1]` after a name is a time."""
        groups: list[syntax.Expression] = []
        for item in items:
            previous = groups[-1] if groups else None
            if isinstance(item, _Range):
                groups.append(self._build_window(previous, item))
                if isinstance(previous, syntax.Name):
                    del groups[-2]
            elif (
                isinstance(item, syntax.Concatenation)
                and len(item.parts) == 1
                and isinstance(previous, syntax.Name)
            ):
                span = previous.span.to(item.span)
                groups[-1] = syntax.Timed(previous, item.parts[0], span)
            else:
                groups.append(item)
        return groups[0] if len(groups) == 1 else syntax.Run(tuple(groups), self._full_span(items))

    def _build_window(self, name: syntax.Expression | None, item: _Range) -> syntax.Expression:
        if isinstance(name, syntax.Name):
            span = name.span.to(item.span)
            return syntax.Windowed(name, item.first, item.last, span)
        self.report.error(
            "RNN102",
            "a range of times stands behind the name of a variable",
            item.span,
            hint="write `h[t-99..t]`",
        )
        return syntax.Number(0, item.span)

    def power(self, items: Items) -> syntax.Power:
        """Build `2**l`."""
        return syntax.Power(items[0], items[2], self._full_span(items))

    def prefix(self, items: Items) -> syntax.Prefix:
        """Build `▷ a`, `-a`."""
        symbols = tuple(None if isinstance(item, Token) else item for item in items[:-1])
        return syntax.Prefix(symbols, items[-1], self._full_span(items))

    def product(self, items: Items) -> syntax.Chain:
        """Build `a ⊙ b / c`."""
        return self._build_chain(items)

    def sum(self, items: Items) -> syntax.Chain:
        """Build `a + b - c`."""
        return self._build_chain(items)

    def _build_chain(self, items: Items) -> syntax.Chain:
        operations = tuple(
            (cast(Any, "*" if str(sign) == "⊙" else str(sign)), operand)
            for sign, operand in zip(items[1::2], items[2::2], strict=True)
        )
        return syntax.Chain(items[0], operations, self._full_span(items))

    def expr(self, items: Items) -> syntax.Infix:
        """Build `x ⊕ y ⊕ h`."""
        symbols: tuple[syntax.Symbol, ...] = tuple(items[1::2])
        other = next((s for s in symbols if (s.name, s.indices) != _symbol_key(symbols[0])), None)
        if other is not None:
            first, second = symbols[0].span.text, other.span.text
            self.report.error(
                "RNN112",
                f"`{first}` and `{second}` stand in a row without parentheses",
                other.span,
                "which of the two comes first?",
                hint=f"write `a {first} (b {second} c)` or `(a {first} b) {second} c`",
            )
        operands = tuple(items[0::2])
        return syntax.Infix(symbols, operands, self._full_span(items))

    def comparison(self, items: Items) -> syntax.Compare:
        """Build `layers > 1`."""
        return syntax.Compare(items[0], cast(Any, str(items[1])), items[2], self._full_span(items))

    def condition(self, items: Items) -> syntax.Logic:
        """Build `a or b`."""
        return syntax.Logic("or", tuple(items[0::2]), self._full_span(items))

    def conjunction(self, items: Items) -> syntax.Logic:
        """Build `a and b`."""
        return syntax.Logic("and", tuple(items[0::2]), self._full_span(items))

    def negation(self, items: Items) -> syntax.Logic:
        """Build `not a`; an even number of `not` folds to two, an odd one to one."""
        negated = syntax.Logic("not", (items[-1],), self._full_span(items))
        return negated if len(items) % 2 == 0 else syntax.Logic("not", (negated,), negated.span)

    def type(self, items: Items) -> syntax.Type:
        """Build `real[400]`."""
        sizes = tuple(item for item in items[1:] if not isinstance(item, Token))
        return syntax.Type(cast(Any, str(items[0])), sizes, self._full_span(items))


class _Subscript:
    def __init__(self, index: syntax.Expression, span: Span) -> None:
        self.index, self.span = index, span


class _Range:
    def __init__(self, first: syntax.Expression, last: syntax.Expression, span: Span) -> None:
        self.first, self.last, self.span = first, last, span


def _indices(items: Items) -> tuple[syntax.Expression, ...]:
    return tuple(item.index for item in items[1:])


def _symbol_key(symbol: syntax.Symbol) -> tuple[str, tuple[syntax.Expression, ...]]:
    return symbol.name, symbol.indices
