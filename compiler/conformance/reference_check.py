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
    arguments = draw_arguments(model, case)
    expected = evaluate_with_gradients(
        subject.module_for(replace(target, backend="reference")), arguments
    )
    non_finite = find_non_finite(expected)
    if non_finite:
        return Outcome("aside", f"{non_finite} is no number on the reference")
    actual = evaluate_with_gradients(model, arguments)
    tolerance = tolerance_of(target.dtype)
    mismatch = describe_mismatch(actual, expected, tolerance)
    # Random initial states would be drawn differently in float64.
    if not mismatch or target.dtype == torch.float64 or subject.has_random_states:
        return outcome_of_mismatch(mismatch)
    exact = _float64_results(subject, target, arguments)
    limits = {
        name: max(
            tolerance,
            REFERENCE_ERROR_FACTOR
            * float(relative_errors(expected[name].detach(), value.detach()).max()),
        )
        for name, value in exact.items()
        if value.numel()
    }
    return outcome_of_mismatch(describe_mismatch(actual, exact, limits, "the reference in float64"))


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
