"""Every mistake of mistakes.txt gives exactly the messages written there, one mistake one message.

A case is a line `## name`, a spec, and a line for each diagnostic, `-> CODE line:column headline`,
with its hint below. `\\uXXXX` stands for characters that an editor would hide.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import pytest

from rnnc.grammar.diagnostics.codes import CODES
from rnnc.grammar.diagnostics.diagnostic import Diagnostic
from rnnc.grammar.source import Source
from rnnc.operators.analyze import check

CASES = Path(__file__).with_name("mistakes.txt")


class Case(NamedTuple):
    name: str
    spec: str
    expected: str


def cases() -> list[Case]:
    listed = []
    for part in CASES.read_text(encoding="utf-8").split("\n## ")[1:]:
        name, _, remainder = part.partition("\n")
        spec, arrow, expected = remainder.partition("\n-> ")
        spec = re.sub(r"\\u([0-9a-f]{4})", lambda match: chr(int(match[1], 16)), spec)
        listed.append(Case(name, spec + "\n", (arrow.lstrip() + expected).strip()))
    return listed


def written(diagnostics: tuple[Diagnostic, ...]) -> str:
    lines = []
    for diagnostic in diagnostics:
        assert diagnostic.span is not None
        line, column = diagnostic.span.source.position(diagnostic.span.start)
        lines.append(f"-> {diagnostic.code} {line}:{column} {diagnostic.message}")
        lines += [f"   {hint}" for hint in diagnostic.hint.splitlines()]
    return "\n".join(lines)


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name.replace(" ", "-"))
def test_mistake(case):
    assert written(check(Source(case.spec, "spec.rnn"))) == case.expected


def test_there_are_at_least_sixty_of_them_and_none_twice():
    names = [case.name for case in cases()]
    assert len(set(names)) == len(names) >= 60


def test_one_mistake_gives_one_message():
    for case in cases():
        if "two mistakes" not in case.name:
            assert len(re.findall(r"^-> ", case.expected, re.MULTILINE)) == 1, case.name


def test_every_message_is_of_a_known_code_and_has_a_hint():
    for case in cases():
        blocks = re.split(r"^-> ", case.expected, flags=re.MULTILINE)[1:]
        for block in blocks:
            assert block[:6] in CODES
            assert "\n   " in block, f"no hint: {case.name}"


def test_a_planted_difference_is_seen():
    case = cases()[0]
    assert written(check(Source("\n" + case.spec, "spec.rnn"))) != case.expected
