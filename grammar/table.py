"""The automaton of `rnn.lark`: lark compiles the grammar into `rnn.json`, which ships beside it.

`python -m rnnc.grammar.table` writes the file anew (`make table`). A grammar that has changed
since is compiled on the spot, so the file saves time and decides nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

GRAMMAR: Final = Path(__file__).with_name("rnn.lark")
COMPILED: Final = Path(__file__).with_name("rnn.json")


@dataclass(frozen=True, slots=True)
class Rule:
    """One production: `size` symbols become one `origin`, by what `action` names.

    The children at `spliced` are lists that give their items; a `lone` child stands for itself.
    """

    origin: str
    action: str
    size: int
    spliced: tuple[int, ...]
    lone: bool


@dataclass(frozen=True, slots=True)
class Table:
    """A scanner and an LALR(1) automaton.

    `terminals` are names and regular expressions, the first that matches counts; `words` are texts
    of a terminal that are another one. A step is the next state, or ~n to reduce by rule n.
    """

    grammar: str
    terminals: tuple[tuple[str, str], ...]
    ignored: tuple[str, ...]
    words: Mapping[str, Mapping[str, str]]
    rules: tuple[Rule, ...]
    steps: tuple[Mapping[str, int], ...]
    accepting: int


@cache
def table() -> Table:
    """The automaton of the grammar as it stands."""
    text = GRAMMAR.read_bytes()
    try:
        found = json.loads(COMPILED.read_bytes())
    except (OSError, ValueError):
        found = {}
    if found.get("grammar") != fingerprint(text):
        return compiled(text)
    rules = tuple(
        Rule(origin, action, size, tuple(spliced), lone)
        for origin, action, size, spliced, lone in found["rules"]
    )
    terminals = tuple((name, pattern) for name, pattern in found["terminals"])
    return Table(
        found["grammar"],
        terminals,
        tuple(found["ignored"]),
        found["words"],
        rules,
        tuple(found["steps"]),
        found["accepting"],
    )


def fingerprint(text: bytes) -> str:
    """What tells one grammar from another, line ends apart."""
    return hashlib.sha256(text.replace(b"\r\n", b"\n")).hexdigest()


def compiled(text: bytes) -> Table:
    """The automaton, made by lark; the same grammar gives the same numbers."""
    from lark import Lark
    from lark.parsers.lalr_analysis import Shift

    parser: Any = Lark(text.decode("utf-8"), parser="lalr", lexer="basic", maybe_placeholders=False)
    automaton = parser.parser.parser._parse_table
    (start,), (end,) = automaton.start_states.values(), automaton.end_states.values()
    rules = sorted(parser.rules, key=_order)
    number_of = {rule: number for number, rule in enumerate(rules)}
    states = [start]
    for state in states:  # grows
        for _, (action, target) in sorted(automaton.states[state].items()):
            if action is Shift and target not in states:
                states.append(target)
    place = {state: number for number, state in enumerate(states)}
    steps = tuple(
        {
            symbol: place[target] if action is Shift else ~number_of[target]
            for symbol, (action, target) in sorted(automaton.states[state].items())
        }
        for state in states
    )
    lexer = parser.parser.lexer
    scanner = lexer.scanner  # takes the words out of the terminals that it looks for
    words = {
        name: dict(sorted((t.pattern.value, t.name) for t in unless.scanner.terminals))
        for name, unless in sorted(lexer.callback.items())
    }
    terminals = tuple((t.name, t.pattern.to_regexp()) for t in scanner.terminals)
    return Table(
        fingerprint(text),
        terminals,
        tuple(sorted(lexer.ignore_types)),
        words,
        tuple(map(_rule, rules)),
        steps,
        place[end],
    )


def _order(rule: Any) -> tuple[str, list[str], str]:
    return rule.origin.name, [symbol.name for symbol in rule.expansion], rule.alias or ""


def _rule(rule: Any) -> Rule:
    spliced = tuple(i for i, s in enumerate(rule.expansion) if s.name.startswith("_"))
    lone = rule.options.expand1 and not rule.alias
    name = rule.origin.name
    return Rule(name, rule.alias or name, len(rule.expansion), spliced, lone)


def written(made: Table) -> str:
    """The text of `rnn.json`: one terminal, rule or state a line."""
    parts = []
    for name, value in asdict(made).items():
        if name == "rules":
            value = [list(rule.values()) for rule in value]
        if isinstance(value, list | tuple) and name != "ignored":
            rows = ",\n".join(json.dumps(row) for row in value)
            text = f"[\n{rows}\n]"
        else:
            text = json.dumps(value)
        parts.append(f'"{name}": {text}')
    return "{\n" + ",\n".join(parts) + "\n}\n"


if __name__ == "__main__":
    COMPILED.write_text(written(compiled(GRAMMAR.read_bytes())), encoding="utf-8")
