"""A backend against the reference: all values and gradients of one call in training."""

from __future__ import annotations

from dataclasses import replace

import torch

from .call_results import Answers, answers
from .cases import Case
from .mismatch import MARGIN, difference, distances, tolerance_of, unusable
from .outcome import Outcome, judged
from .random_arguments import Arguments, arguments
from .subject import Place, Subject


def against_reference(subject: Subject, place: Place, case: Case) -> Outcome:
    """Compare a call at a place with the same call of the reference there.

    Where that is off in less than float64, the reference in float64 is right, and a backend may be
    further off than the reference in its own dtype, but not much.
    """
    model = subject.on(place)
    given = arguments(model, case)
    right = answers(subject.on(replace(place, backend="reference")), given)
    nothing = unusable(right)
    if nothing:
        return Outcome("aside", f"{nothing} is no number on the reference")
    ours = answers(model, given)
    allowed = tolerance_of(place.dtype)
    wrong = difference(ours, right, allowed)
    # Other numbers would be drawn in float64.
    if not wrong or place.dtype == torch.float64 or subject.draws_states:
        return judged(wrong)
    exact = _exact(subject, place, given)
    limits = {
        name: max(allowed, MARGIN * float(distances(right[name].detach(), value.detach()).max()))
        for name, value in exact.items()
        if value.numel()
    }
    return judged(difference(ours, exact, limits, "the reference in float64"))


def _exact(subject: Subject, place: Place, given: Arguments) -> Answers:
    model = subject.on(Place("reference", place.device, torch.float64))

    def wide(value: torch.Tensor) -> torch.Tensor:
        if not value.is_floating_point():
            return value
        return value.detach().double().requires_grad_(value.requires_grad)

    x = {name: wide(value) for name, value in given.x.items()}
    state = None if given.state is None else type(given.state)(*map(wide, given.state))
    return answers(model, replace(given, x=x, state=state))
