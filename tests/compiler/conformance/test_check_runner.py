"""Check the budget of checks, with a clock that moves only when a case runs."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from rnnc.compiler.conformance import budget
from rnnc.compiler.conformance.budget import Budget
from rnnc.compiler.conformance.cases import CASES, Case, simplify
from rnnc.compiler.conformance.check_list import Check, CheckKind
from rnnc.compiler.conformance.check_runner import run_checks
from rnnc.compiler.conformance.outcome import Outcome
from rnnc.compiler.conformance.report import Finding
from rnnc.compiler.conformance.subject import ExecutionTarget

DOUBLE = ExecutionTarget("planted", torch.device("cpu"), torch.float64)
SINGLE = ExecutionTarget("planted", torch.device("cpu"), torch.float32)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(budget, "cpu_seconds", lambda: now[0])
    return now


def check(
    place: ExecutionTarget,
    run: Callable[[Case], Outcome],
    cases: tuple[Case, ...] = CASES,
    kind: CheckKind = "rows alone",
) -> Check:
    return Check(kind, place, cases, run, lambda case: True, "")


def found(checks: list[Check], seconds: float) -> list[Finding]:
    started: list[str] = []
    findings = list(
        run_checks(checks, Budget(seconds), started.append, lambda place, case: f"again {case}")
    )
    assert started == [finding.name for finding in findings]
    return findings


def taking(clock: list[float], seconds: float, outcome: Outcome) -> Callable[[Case], Outcome]:
    def run(case: Case) -> Outcome:
        clock[0] += seconds
        return outcome

    return run


def test_all_cases_run_where_there_is_time(clock: list[float]) -> None:
    (first,) = found([check(DOUBLE, taking(clock, 1, Outcome("right")))], 100)
    assert (first.status, first.seen, first.detail) == ("ok", len(CASES), "")


def test_no_case_begins_after_the_time_is_over(clock: list[float]) -> None:
    checks = [check(place, taking(clock, 3, Outcome("right"))) for place in (DOUBLE, SINGLE)]
    first, second = found(checks, 10)
    assert (first.status, second.status) == ("unfinished", "unfinished")
    assert clock[0] <= 110
    assert first.seen + second.seen == 3


def test_a_check_leaves_time_for_the_others(clock: list[float]) -> None:
    checks = [check(DOUBLE, taking(clock, 0.1, Outcome("right"))) for _ in range(8)]
    assert all(finding.seen for finding in found(checks, 3))


def test_a_case_is_not_begun_where_it_took_more_than_is_left(clock: list[float]) -> None:
    run = taking(clock, 6, Outcome("right"))
    first, second = found([check(place, run, CASES[:1]) for place in (DOUBLE, SINGLE)], 10)
    assert (first.status, first.seen) == ("ok", 1)
    assert (second.status, second.seen) == ("unfinished", 0)
    assert clock[0] == 106


def test_the_smallest_case_that_fails_is_shown(clock: list[float]) -> None:
    def run(case: Case) -> Outcome:
        fails = case.steps > 2 and case.rows > 1 and case.resets == "False"
        return Outcome("wrong", "off") if fails else Outcome("right")

    wide = Case(6, 3, lengths=True, resets="False", carry=True)
    (first,) = found([check(DOUBLE, run, (Case(1, 1), wide))], 100)
    assert (first.status, first.seen, first.detail) == ("failed", 2, "off")
    assert (first.case, first.show) == ("T=3,B=2,resets=False", "again T=3,B=2,resets=False")
    assert all(run(case).status == "right" for case in simplify(Case(3, 2, resets="False")))


def test_a_search_that_takes_long_ends(clock: list[float]) -> None:
    (first,) = found([check(DOUBLE, taking(clock, 1, Outcome("wrong", "off")), CASES[1:2])], 1)
    assert first.status == "failed"
    assert clock[0] <= 104


def test_what_has_no_answer_anywhere_is_skipped(clock: list[float]) -> None:
    (first,) = found([check(DOUBLE, taking(clock, 0, Outcome("aside", "no number")))], 10)
    assert (first.status, first.detail) == ("skipped", "no number")


def test_what_was_set_aside_is_said(clock: list[float]) -> None:
    def run(case: Case) -> Outcome:
        return Outcome("aside", "no number") if case.carry else Outcome("right")

    (first,) = found([check(DOUBLE, run, (Case(1, 1), Case(1, 1, carry=True)))], 10)
    assert (first.status, first.detail) == ("ok", "no number, at T=1,B=1,carry")


def test_what_raises_is_wrong_but_for_memory(clock: list[float]) -> None:
    def fail(case: Case) -> Outcome:
        raise ValueError("of all things")

    (first,) = found([check(DOUBLE, fail, CASES[:1])], 10)
    assert (first.status, first.detail) == ("failed", "raises ValueError: of all things")

    def exhaust(case: Case) -> Outcome:
        raise MemoryError

    with pytest.raises(MemoryError):
        found([check(DOUBLE, exhaust, CASES[:1])], 10)
