"""Characters to tokens, and tokens to calls of the grammar's actions, as its table says."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, Final

from .table import Table, table

END: Final = "$END"
"""The type of what stands behind the last token."""


class Token(str):
    """A text with its terminal's name and its place in the source."""

    __slots__ = ("end", "start", "type")
    type: str
    start: int
    end: int

    def __new__(cls, type_: str, text: str, start: int) -> Token:
        """A token that begins at `start`."""
        token = super().__new__(cls, text)
        token.type, token.start, token.end = type_, start, start + len(text)
        return token


class Unreadable(Exception):
    """A line is not one of the grammar.

    `token` is what cannot stand where it does, of type `$END` when something is missing at the end;
    None when the character at `place` begins no token.
    """

    def __init__(self, place: int, token: Token | None) -> None:
        super().__init__(place, token)
        self.place, self.token = place, token


def tokens(text: str, start: int, end: int) -> Iterator[Token]:
    """The tokens of a part of a text, without blanks and comments.

    Raises:
        Unreadable: at a character that begins no token.
    """
    known = table()
    match = _scanner().match
    place = start
    while place < end:
        found = match(text, place, end)
        if found is None:
            raise Unreadable(place, None)
        name, words = found.lastgroup or "", found.group()
        if name not in known.ignored:
            name = known.words.get(name, {}).get(words, name)
            yield Token(name, words, place)
        place = found.end()


@cache
def _scanner() -> re.Pattern[str]:
    return re.compile("|".join(f"(?P<{name}>{pattern})" for name, pattern in table().terminals))


def parse(text: str, start: int, end: int, actions: object) -> Any:
    """What the actions, methods named as the grammar's rules, make of a part of a text.

    Each is given what its symbols became, innermost and leftmost first.

    Raises:
        Unreadable: when it is not a line of the grammar.
    """
    known = table()
    states, values = [0], list[Any]()
    for token in tokens(text, start, end):
        while (step := known.steps[states[-1]].get(token.type)) is not None and step < 0:
            _reduce(known, ~step, states, values, actions)
        if step is None:
            raise Unreadable(token.start, token)
        states.append(step)
        values.append(token)
    while states[-1] != known.accepting:
        step = known.steps[states[-1]].get(END)
        if step is None:
            raise Unreadable(end, Token(END, "", end))
        _reduce(known, ~step, states, values, actions)
    return values[-1]


def _reduce(
    known: Table, number: int, states: list[int], values: list[Any], actions: object
) -> None:
    rule = known.rules[number]
    items: list[Any] = []
    first = len(values) - rule.size
    for place, value in enumerate(values[first:]):
        if place in rule.spliced:
            items += value
        else:
            items.append(value)
    del values[first:], states[first + 1 :]
    if rule.lone and len(items) == 1:
        values.append(items[0])
    elif rule.origin.startswith("_"):
        values.append(items)
    else:
        act: Callable[[list[Any]], Any] = getattr(actions, rule.action)
        values.append(act(items))
    states.append(known.steps[states[-1]][rule.origin])
