"""What a check is, and which of them a subject gets, the most telling ones first."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, Literal

import torch

from .cases import CASES, Case
from .finite_differences import finite_differences
from .outcome import Outcome
from .partitioned_calls import parts, rows_alone, step_by_step
from .reference_check import against_reference
from .subject import Place, Subject

EXACT: Final = Place("reference", torch.device("cpu"), torch.float64)

Kind = Literal[
    "against the reference",
    "step by step",
    "parts against the whole",
    "rows alone",
    "finite differences",
]


@dataclass(frozen=True, slots=True)
class Check:
    """One property at one place, and the cases that it is looked at in, in their order.

    fits: whether the property says anything of a case. why_not: why it says nothing of any.
    """

    kind: Kind
    place: Place
    cases: tuple[Case, ...]
    run: Callable[[Case], Outcome]
    fits: Callable[[Case], bool]
    why_not: str


def checks_of(
    subject: Subject, places: Sequence[Place], cases: Iterable[Case] = CASES
) -> tuple[Check, ...]:
    """All checks of a subject at some places, the first dtype before others.

    The reference's own pieces come last: they are right where those of the backends are, and these
    agree with it.
    """
    chosen = tuple(cases)
    if subject.runs_backward:
        without = (Case(case.steps, case.rows, case.lengths, case.resets) for case in chosen)
        chosen = tuple(dict.fromkeys(without))
    others = [place for place in places if place.backend != "reference"]
    first = [place for place in others if place.dtype == others[0].dtype]
    order: list[tuple[Kind, Place]] = [("against the reference", place) for place in first]
    order.append(("finite differences", EXACT))
    order += [(kind, place) for place in first for kind in PIECES]
    for place in others:
        if place not in first:
            order += [("against the reference", place), *((kind, place) for kind in PIECES)]
    order += [(kind, EXACT) for kind in PIECES]
    return tuple(_check(subject, kind, place, chosen) for kind, place in order)


def _check(subject: Subject, kind: Kind, place: Place, cases: tuple[Case, ...]) -> Check:
    run, fits, why_not = RUN[kind], _FITS[kind], _WHY_NOT.get(kind, "")
    if kind in PIECES and subject.draws_states:
        # A segment that begins within a call draws its first state where it begins.
        fits, why_not = (
            _both(fits, _both(_goes_on, _begins_nothing)),
            "states begin at values that are drawn",
        )
    if kind in _IN_TIME and subject.runs_backward:
        fits, why_not = (
            _never,
            f"the model runs backward in time ({', '.join(subject.runs_backward)})",
        )
    if not subject.graph.inputs:
        fits, why_not = _never, "the model has no input, and so no steps"
    elif kind == "finite differences" and not subject.learned:
        fits, why_not = _goes_on, "nothing in it takes a gradient"
    kept = tuple(case for case in cases if fits(case))
    return Check(kind, place, kept, partial(run, subject, place), fits, why_not)


RUN: Final[dict[Kind, Callable[[Subject, Place, Case], Outcome]]] = {
    "against the reference": against_reference,
    "finite differences": finite_differences,
    "step by step": step_by_step,
    "parts against the whole": parts,
    "rows alone": rows_alone,
}
_IN_TIME: Final[tuple[Kind, ...]] = ("step by step", "parts against the whole")
PIECES: Final[tuple[Kind, ...]] = (*_IN_TIME, "rows alone")


def _always(case: Case) -> bool:
    return True


def _never(case: Case) -> bool:
    return False


def _has_parts(case: Case) -> bool:
    return case.steps > 1 and not case.lengths


def _has_rows(case: Case) -> bool:
    return case.rows > 1


def _goes_on(case: Case) -> bool:
    return case.carry


def _begins_nothing(case: Case) -> bool:
    return case.resets != "some"


def _both(one: Callable[[Case], bool], other: Callable[[Case], bool]) -> Callable[[Case], bool]:
    return lambda case: one(case) and other(case)


_FITS: Final[dict[Kind, Callable[[Case], bool]]] = {
    "against the reference": _always,
    "finite differences": _always,
    "step by step": _has_parts,
    "parts against the whole": _has_parts,
    "rows alone": _has_rows,
}
_WHY_NOT: Final[dict[Kind, str]] = {
    "step by step": "that takes two steps, and rows of one length",
    "parts against the whole": "that takes two steps, and rows of one length",
    "rows alone": "that takes two rows",
}
