"""Kinds of calls that a model is verified in: steps, rows and optional arguments."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final, Literal

ResetsMode = Literal["", "False", "some"]
"""No resets, all False, or some True."""


@dataclass(frozen=True, slots=True)
class Case:
    """One kind of call.

    steps, rows: T and B.
    lengths: True if rows differ in length; one of them is empty if there are enough rows.
    carry: True if the call continues from a state. Gradients of inputs and of the state are then
        checked too; without it only those of parameters, as in training.
    """

    steps: int
    rows: int
    lengths: bool = False
    resets: ResetsMode = ""
    carry: bool = False

    def __str__(self) -> str:
        words = [f"T={self.steps}", f"B={self.rows}"]
        words += ["lengths"] * self.lengths
        words += {"": [], "False": ["resets=False"], "some": ["resets"]}[self.resets]
        return ",".join(words + ["carry"] * self.carry)


CASES: Final = (
    Case(1, 2, resets="False", carry=True),
    Case(4, 3, lengths=True, resets="some", carry=True),
    Case(3, 2),
    Case(6, 2, carry=True),
    Case(1, 1),
    Case(2, 3, lengths=True),
    Case(5, 3, resets="some"),
    Case(2, 2, lengths=True, resets="False", carry=True),
    Case(1, 3, lengths=True, resets="some", carry=True),
    Case(6, 3, lengths=True, resets="some"),
    Case(3, 1, resets="False", carry=True),
    Case(5, 1, lengths=True, carry=True),
    Case(2, 1, resets="some", carry=True),
    Case(4, 1, resets="False"),
    Case(6, 1),
)
"""Most revealing first: calls shorter than the delays of a model, and masks.

T from 1 to 6, B from 1 to 3.
"""


def parse_case(text: str) -> Case:
    """Parse the text that `str` gives for a case.

    Raises:
        ValueError: when it is none.
    """
    fields: dict[str, object] = {}
    for word in filter(None, re.split(r"[,\s]+", text)):
        size = re.fullmatch(r"([TB])=([1-9][0-9]{0,3})", word)
        if size:
            fields["steps" if size[1] == "T" else "rows"] = int(size[2])
        elif word in {"resets", "resets=False"}:
            fields["resets"] = "some" if word == "resets" else "False"
        elif word in {"lengths", "carry"}:
            fields[word] = True
        else:
            raise ValueError(_syntax_message(text))
    if not {"steps", "rows"} <= set(fields):
        raise ValueError(_syntax_message(text))
    return Case(**fields)  # type: ignore[arg-type]


def _syntax_message(text: str) -> str:
    return f"case: expected T=…,B=… and any of lengths, resets, resets=False, carry, got {text!r}"


def simplify(case: Case) -> Iterator[Case]:
    """Yield simpler cases, one change away: fewer arguments, then fewer rows, then fewer steps."""
    if case.lengths:
        yield replace(case, lengths=False)
    if case.resets == "some":
        yield replace(case, resets="False")
    if case.resets:
        yield replace(case, resets="")
    if case.carry:
        yield replace(case, carry=False)
    for rows in range(1, case.rows):
        yield replace(case, rows=rows)
    for steps in range(1, case.steps):
        yield replace(case, steps=steps)
