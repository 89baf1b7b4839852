"""Checks run case by case, within their time, down to the smallest case that fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final

import torch

from .budget import Budget
from .cases import Case, smaller
from .check_list import Check
from .outcome import Outcome
from .random_arguments import own_chance
from .report import Finding
from .subject import Place

Show = Callable[[Place, Case], str]
"""What a user types to see one case again."""

Begin = Callable[[str], None]
"""Told the name of a check as it begins."""

Taken = dict[tuple[str, str, Case], float]
"""CPU seconds that a case took in another dtype: it is not begun where less is left."""

_TRIES: Final = 40
_EXTRA: Final = 2.0
"""CPU seconds that the search for a smaller case may take beyond the budget."""


def run_checks(
    checks: Sequence[Check], budget: Budget, begin: Begin, show: Show
) -> Iterator[Finding]:
    """Each check's finding, one after the other."""
    taken: Taken = {}
    for index, check in enumerate(checks):
        name = f"{check.kind}: {check.place}"
        begin(name)
        least = 0.5 if check.kind == "against the reference" else 0.25
        until = budget.share(len(checks) - index, least)
        yield _found(name, check, budget, until, taken, show)


def _found(
    name: str, check: Check, budget: Budget, until: float, taken: Taken, show: Show
) -> Finding:
    place, count = check.place, len(check.cases)
    dtype = str(place.dtype).removeprefix("torch.")
    said: dict[str, list[str]] = {}
    seen = right = 0

    def finding(status: str, detail: str = "", case: str = "", again: str = "") -> Finding:
        where = (place.backend, str(place.device), dtype)
        return Finding(name, *where, status, seen, count, detail, case, again)  # type: ignore[arg-type]

    if not check.cases:
        return finding("skipped", check.why_not)
    for case in check.cases:
        began, like = budget.spent(), (check.kind, place.backend, case)
        if began >= until or taken.get(like, 0.0) > budget.left():
            break
        outcome = outcome_of(check, case)
        taken[like] = budget.spent() - began
        seen += 1
        right += outcome.status == "right"
        if outcome.status == "wrong":
            case, outcome = _smallest(check, case, outcome, budget)
            return finding("failed", outcome.detail, str(case), show(place, case))
        if outcome.detail:
            said.setdefault(outcome.detail, []).append(str(case))
    if seen == count and not right:
        return finding("skipped", next(iter(said)))
    notes = "; ".join(f"{detail}, at {' '.join(at)}" for detail, at in said.items())
    return finding("ok" if seen == count else "unfinished", notes)


def outcome_of(check: Check, case: Case) -> Outcome:
    """What comes of one case; a module that raises is wrong, and torch's chance is as before."""
    device = check.place.device.type
    with own_chance(), torch.enable_grad(), torch.autocast(device, enabled=False):
        try:
            return check.run(case)
        except MemoryError:
            raise
        except Exception as error:
            return Outcome("wrong", raised(error))


def raised(error: Exception) -> str:
    """An exception in words."""
    words = " ".join(str(error).split())
    return f"raises {type(error).__name__}" + (f": {words}" if words else "")


def _smallest(check: Check, case: Case, outcome: Outcome, budget: Budget) -> tuple[Case, Outcome]:
    """The simplest case found that fails, from one that does."""
    until = budget.spent() + max(_EXTRA, budget.left())
    tried = {case}
    simpler = smaller(case)
    while len(tried) < _TRIES and budget.spent() < until:
        candidate = next(simpler, None)
        if candidate is None:
            break
        if candidate in tried or not check.fits(candidate):
            continue
        tried.add(candidate)
        found = outcome_of(check, candidate)
        if found.status == "wrong":
            case, outcome, simpler = candidate, found, smaller(candidate)
    return case, outcome
