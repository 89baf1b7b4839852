"""List the checks of a subject at its execution targets, the most revealing ones first."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, Literal

import torch

from .cases import CASES, Case
from .finite_differences import check_finite_differences
from .outcome import Outcome
from .partitioned_calls import check_parts, check_rows_alone, check_step_by_step
from .reference_check import check_against_reference
from .subject import ExecutionTarget, Subject

FLOAT64_REFERENCE: Final = ExecutionTarget("reference", torch.device("cpu"), torch.float64)

CheckKind = Literal[
    "against the reference",
    "step by step",
    "parts against the whole",
    "rows alone",
    "finite differences",
]


@dataclass(frozen=True, slots=True)
class Check:
    """One property at one execution target, and its cases in order.

    applies: returns False for cases in which the property says nothing. skip_reason: why it applies
        to none.
    """

    kind: CheckKind
    target: ExecutionTarget
    cases: tuple[Case, ...]
    run: Callable[[Case], Outcome]
    applies: Callable[[Case], bool]
    skip_reason: str


def build_checks(
    subject: Subject, targets: Sequence[ExecutionTarget], cases: Iterable[Case] = CASES
) -> tuple[Check, ...]:
    """Build all checks of a subject at some execution targets, the first dtype before others.

    The partition checks of the reference come last: they hold if those of a backend hold and the
    backend agrees with it.
    """
    applicable = tuple(cases)
    if subject.runs_backward:
        stateless = (Case(case.steps, case.rows, case.lengths, case.resets) for case in applicable)
        applicable = tuple(dict.fromkeys(stateless))
    compiled = [target for target in targets if target.backend != "reference"]
    first_dtype = [target for target in compiled if target.dtype == compiled[0].dtype]
    order: list[tuple[CheckKind, ExecutionTarget]] = [
        ("against the reference", target) for target in first_dtype
    ]
    order.append(("finite differences", FLOAT64_REFERENCE))
    order += [(kind, target) for target in first_dtype for kind in PARTITIONS]
    for target in compiled:
        if target not in first_dtype:
            order += [("against the reference", target), *((kind, target) for kind in PARTITIONS)]
    order += [(kind, FLOAT64_REFERENCE) for kind in PARTITIONS]
    return tuple(_build_check(subject, kind, target, applicable) for kind, target in order)


def _build_check(
    subject: Subject, kind: CheckKind, target: ExecutionTarget, cases: tuple[Case, ...]
) -> Check:
    run, applies, skip_reason = (
        CHECK_FUNCTIONS[kind],
        _APPLICABLE[kind],
        _SKIP_REASONS.get(kind, ""),
    )
    if kind in PARTITIONS and subject.has_random_states:
        # A reset within a call draws the initial state of its own step, a part of it another one.
        applies, skip_reason = (
            _all_of(applies, _all_of(_has_state, _has_no_resets)),
            "states begin at values that are drawn",
        )
    if kind in _TIME_PARTITIONS and subject.runs_backward:
        applies, skip_reason = (
            _never,
            f"the model runs backward in time ({', '.join(subject.runs_backward)})",
        )
    if not subject.graph.inputs:
        applies, skip_reason = _never, "the model has no input, and so no steps"
    elif kind == "finite differences" and not subject.trainable:
        applies, skip_reason = _has_state, "nothing in it takes a gradient"
    applicable = tuple(case for case in cases if applies(case))
    return Check(kind, target, applicable, partial(run, subject, target), applies, skip_reason)


CHECK_FUNCTIONS: Final[dict[CheckKind, Callable[[Subject, ExecutionTarget, Case], Outcome]]] = {
    "against the reference": check_against_reference,
    "finite differences": check_finite_differences,
    "step by step": check_step_by_step,
    "parts against the whole": check_parts,
    "rows alone": check_rows_alone,
}
_TIME_PARTITIONS: Final[tuple[CheckKind, ...]] = ("step by step", "parts against the whole")
PARTITIONS: Final[tuple[CheckKind, ...]] = (*_TIME_PARTITIONS, "rows alone")


def _always(case: Case) -> bool:
    return True


def _never(case: Case) -> bool:
    return False


def _has_parts(case: Case) -> bool:
    return case.steps > 1 and not case.lengths


def _has_rows(case: Case) -> bool:
    return case.rows > 1


def _has_state(case: Case) -> bool:
    return case.carry


def _has_no_resets(case: Case) -> bool:
    return case.resets != "some"


def _all_of(one: Callable[[Case], bool], other: Callable[[Case], bool]) -> Callable[[Case], bool]:
    return lambda case: one(case) and other(case)


_APPLICABLE: Final[dict[CheckKind, Callable[[Case], bool]]] = {
    "against the reference": _always,
    "finite differences": _always,
    "step by step": _has_parts,
    "parts against the whole": _has_parts,
    "rows alone": _has_rows,
}
_SKIP_REASONS: Final[dict[CheckKind, str]] = {
    "step by step": "that takes two steps, and rows of one length",
    "parts against the whole": "that takes two steps, and rows of one length",
    "rows alone": "that takes two rows",
}
