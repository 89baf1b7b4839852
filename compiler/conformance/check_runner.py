"""Run checks case by case within their budgets, and shrink the first failing case."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final

import torch

from .budget import Budget
from .cases import Case, simplify
from .check_list import Check
from .outcome import Outcome
from .random_arguments import preserve_rng_state
from .report import Finding
from .subject import ExecutionTarget

ReproduceCommand = Callable[[ExecutionTarget, Case], str]
"""Returns the command that runs one case again."""

StartCallback = Callable[[str], None]
"""Receives the name of a check as it starts."""

CaseDurations = dict[tuple[str, str, Case], float]
"""CPU seconds of each case in another dtype: it is skipped if less remains."""

_MAX_SHRINK_CASES: Final = 40
"""Largest number of cases run in the search for a smaller one."""
_EXTRA_SHRINK_SECONDS: Final = 2.0
"""CPU seconds of the search for a smaller case beyond the budget."""


def run_checks(
    checks: Sequence[Check], budget: Budget, on_start: StartCallback, reproduce: ReproduceCommand
) -> Iterator[Finding]:
    """Run the checks in order and yield the finding of each."""
    durations: CaseDurations = {}
    for index, check in enumerate(checks):
        name = f"{check.kind}: {check.target}"
        on_start(name)
        least = 0.5 if check.kind == "against the reference" else 0.25
        deadline = budget.share(len(checks) - index, least)
        yield _run_check(name, check, budget, deadline, durations, reproduce)


def _run_check(
    name: str,
    check: Check,
    budget: Budget,
    deadline: float,
    durations: CaseDurations,
    reproduce: ReproduceCommand,
) -> Finding:
    target, count = check.target, len(check.cases)
    dtype = str(target.dtype).removeprefix("torch.")
    cases_by_detail: dict[str, list[str]] = {}
    seen_count = right_count = 0

    def finding(status: str, detail: str = "", case: str = "", command: str = "") -> Finding:
        location = (target.backend, str(target.device), dtype)
        return Finding(name, *location, status, seen_count, count, detail, case, command)  # type: ignore[arg-type]

    if not check.cases:
        return finding("skipped", check.skip_reason)
    for case in check.cases:
        started, key = budget.elapsed(), (check.kind, target.backend, case)
        if started >= deadline or durations.get(key, 0.0) > budget.remaining():
            break
        outcome = run_case(check, case)
        durations[key] = budget.elapsed() - started
        seen_count += 1
        right_count += outcome.status == "right"
        if outcome.status == "wrong":
            case, outcome = _shrink_case(check, case, outcome, budget)
            return finding("failed", outcome.detail, str(case), reproduce(target, case))
        if outcome.detail:
            cases_by_detail.setdefault(outcome.detail, []).append(str(case))
    if seen_count == count and not right_count:
        return finding("skipped", next(iter(cases_by_detail)))
    notes = "; ".join(
        f"{detail}, at {' '.join(cases)}" for detail, cases in cases_by_detail.items()
    )
    return finding("ok" if seen_count == count else "unfinished", notes)


def run_case(check: Check, case: Case) -> Outcome:
    """Run one case; an exception is `wrong`, and torch's random state is restored."""
    device = check.target.device.type
    with preserve_rng_state(), torch.enable_grad(), torch.autocast(device, enabled=False):
        try:
            return check.run(case)
        except MemoryError:
            raise
        except Exception as error:
            return Outcome("wrong", describe_exception(error))


def describe_exception(error: Exception) -> str:
    """Describe an exception in one line."""
    words = " ".join(str(error).split())
    return f"raises {type(error).__name__}" + (f": {words}" if words else "")


def _shrink_case(
    check: Check, case: Case, outcome: Outcome, budget: Budget
) -> tuple[Case, Outcome]:
    """Shrink a failing case (as QuickCheck does) to the simplest that still fails."""
    deadline = budget.elapsed() + max(_EXTRA_SHRINK_SECONDS, budget.remaining())
    tried = {case}
    candidates = simplify(case)
    while len(tried) < _MAX_SHRINK_CASES and budget.elapsed() < deadline:
        candidate = next(candidates, None)
        if candidate is None:
            break
        if candidate in tried or not check.applies(candidate):
            continue
        tried.add(candidate)
        candidate_outcome = run_case(check, candidate)
        if candidate_outcome.status == "wrong":
            case, outcome, candidates = candidate, candidate_outcome, simplify(candidate)
    return case, outcome
