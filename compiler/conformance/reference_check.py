"""Compare all values and gradients of one training call of a backend with the reference's."""

from __future__ import annotations

from dataclasses import replace

import torch

from .call_results import CallResults, evaluate_with_gradients
from .cases import Case
from .mismatch import (
    REFERENCE_ERROR_FACTOR,
    describe_mismatch,
    find_non_finite,
    relative_errors,
    tolerance_of,
)
from .outcome import Outcome, outcome_of_mismatch
from .random_arguments import Arguments, draw_arguments
from .subject import ExecutionTarget, Subject


def check_against_reference(subject: Subject, target: ExecutionTarget, case: Case) -> Outcome:
    """Compare a call at a target with the same call of the reference there.

    On a mismatch in less than float64 both are compared with the float64 reference: a backend may
    be further off than the reference in its own dtype, but not by much.
    """
    model = subject.module_for(target)
    given = draw_arguments(model, case)
    right = evaluate_with_gradients(subject.module_for(replace(target, backend="reference")), given)
    nothing = find_non_finite(right)
    if nothing:
        return Outcome("aside", f"{nothing} is no number on the reference")
    ours = evaluate_with_gradients(model, given)
    allowed = tolerance_of(target.dtype)
    wrong = describe_mismatch(ours, right, allowed)
    # Other numbers would be drawn in float64.
    if not wrong or target.dtype == torch.float64 or subject.has_random_states:
        return outcome_of_mismatch(wrong)
    exact = _float64_results(subject, target, given)
    limits = {
        name: max(
            allowed,
            REFERENCE_ERROR_FACTOR
            * float(relative_errors(right[name].detach(), value.detach()).max()),
        )
        for name, value in exact.items()
        if value.numel()
    }
    return outcome_of_mismatch(describe_mismatch(ours, exact, limits, "the reference in float64"))


def _float64_results(
    subject: Subject, target: ExecutionTarget, arguments: Arguments
) -> CallResults:
    model = subject.module_for(ExecutionTarget("reference", target.device, torch.float64))

    def wide(value: torch.Tensor) -> torch.Tensor:
        if not value.is_floating_point():
            return value
        return value.detach().double().requires_grad_(value.requires_grad)

    x = {name: wide(value) for name, value in arguments.x.items()}
    state = None if arguments.state is None else type(arguments.state)(*map(wide, arguments.state))
    return evaluate_with_gradients(model, replace(arguments, x=x, state=state))
