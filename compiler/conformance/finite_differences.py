"""Check the reference's gradients against central finite differences, in float64.

Other backends are compared with the reference's gradients; here those are compared with its values.
Operands that derivatives hold constant (`stopgrad`, inside of laws) are frozen, and all random
numbers are drawn equally.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import torch
from torch import Tensor

from rnnc.compiler.module.compiled_rnn import CompiledRNN

from .call_results import (
    GRADIENT,
    INPUT,
    STATE,
    CallResults,
    differentiable_tensors,
    evaluate,
    evaluate_with_gradients,
    score,
    score_weights,
)
from .cases import Case
from .mismatch import find_non_finite
from .outcome import Outcome
from .random_arguments import Arguments, draw_arguments
from .subject import ExecutionTarget, Subject

STEP_SIZES: Final = (1e-6, 1e-5, 1e-7)
"""Around the cube root of float64's epsilon, the best step of a central difference."""
TOLERANCE: Final = 1e-5
"""Allowed error of a derivative, relative to its size or 1."""
CURVATURE_ALLOWANCE: Final = 100.0
ROUNDING_ALLOWANCE: Final = 1e-15
"""Slopes may differ without a kink: by the step times the curvature, and by rounding."""
MAX_DRAWS: Final = 3
"""Number of inputs drawn to avoid kinks."""


def check_finite_differences(subject: Subject, target: ExecutionTarget, case: Case) -> Outcome:
    """Check derivatives along random directions: all tensors together, then each if that fails.

    A direction along which the values have a kink, as at a tie of `maxout`, says nothing of a
    gradient: other inputs are drawn, and if those have kinks too, the direction is skipped.
    """
    model = subject.module_for(target)
    outcome = Outcome("aside")
    for seed in range(MAX_DRAWS):
        arguments = draw_arguments(model, case, seed=seed, smooth=True)
        results = evaluate_with_gradients(model, arguments)
        non_finite = find_non_finite(results)
        if non_finite:
            outcome = Outcome("aside", f"{non_finite} is no number on the reference")
            continue
        outcome = _check_directions(_DirectionProbe(subject, arguments, results))
        if outcome.status == "wrong" or outcome == Outcome("right"):
            break
    return outcome


def _check_directions(probe: _DirectionProbe) -> Outcome:
    names = list(probe.directions)
    together = probe.check(names)
    if together.status == "right":
        return together
    outcomes = [probe.check([name]) for name in names]
    wrong = next((outcome for outcome in outcomes if outcome.status == "wrong"), together)
    if wrong.status == "wrong":
        return wrong
    kinks = [n for n, outcome in zip(names, outcomes, strict=True) if outcome.status == "aside"]
    if len(kinks) == len(names):
        return Outcome("aside", "the values have corners along every direction")
    return Outcome("right", f"set aside, for a corner: {', '.join(kinks)}" if kinks else "")


@dataclass(frozen=True, slots=True)
class _DifferenceQuotient:
    """Central difference quotient, and True if the one-sided slopes show a kink."""

    slope: float
    has_kink: bool


class _DirectionProbe:
    """Evaluator of one call along directions of its tensors, each of length 1."""

    def __init__(self, subject: Subject, arguments: Arguments, results: CallResults) -> None:
        self._model, self._frozen_stopgrad = subject.module_with_frozen_stopgrad
        self._arguments, self._results = arguments, results
        self._weights = score_weights(results)
        generator = torch.Generator().manual_seed(4)
        self.directions: dict[str, Tensor] = {}
        for name, tensor in differentiable_tensors(self._model, arguments).items():
            direction = torch.randn(tensor.shape, generator=generator, dtype=torch.float64)
            self.directions[name] = direction / direction.norm().clamp(min=1e-12)
        for values in self._frozen_stopgrad:
            values.clear()
        self._base = self._evaluate(self._model, arguments)

    def check(self, names: list[str]) -> Outcome:
        """Compare the gradients of some tensors with difference quotients."""
        derivative = sum(
            float((self._results[GRADIENT + n] * self.directions[n]).sum()) for n in names
        )
        quotients: list[_DifferenceQuotient] = []
        for step in STEP_SIZES:
            quotient = self._difference_quotient(names, step)
            if abs(quotient.slope - derivative) <= TOLERANCE * max(1.0, abs(quotient.slope)):
                return Outcome("right")
            quotients.append(quotient)
        slopes = [quotient.slope for quotient in quotients]
        # If slopes differ between step sizes, there is no derivative to compare with.
        spread = max(slopes) - min(slopes)
        if any(quotient.has_kink for quotient in quotients) or spread > 10 * TOLERANCE * max(
            1.0, abs(slopes[0])
        ):
            return Outcome("aside", "a corner")
        mismatch = f"is {derivative:.9g}, finite differences give {slopes[0]:.9g}"
        return Outcome("wrong", f"gradient of {', '.join(names)} {mismatch}")

    def _difference_quotient(self, names: list[str], step: float) -> _DifferenceQuotient:
        ahead = (self._shifted_value(names, step) - self._base) / step
        behind = (self._base - self._shifted_value(names, -step)) / step
        slope = (ahead + behind) / 2
        allowance = CURVATURE_ALLOWANCE * step * max(1.0, abs(slope))
        allowance += ROUNDING_ALLOWANCE * max(1.0, abs(self._base)) / step
        return _DifferenceQuotient(slope, abs(ahead - behind) > allowance)

    def _shifted_value(self, names: list[str], step: float) -> float:
        shifts = {name: step * self.directions[name] for name in names}
        arguments = self._arguments

        def at(name: str, value: Tensor) -> Tensor:
            return value + shifts[name] if name in shifts else value

        with torch.no_grad():
            x = {name: at(INPUT + name, value) for name, value in arguments.x.items()}
            state = arguments.state
            if state is not None:
                named = state._asdict().items()
                state = type(state)(*(at(STATE + name, value) for name, value in named))
            parameters = dict(self._model.named_parameters())
            saved = {n: p.clone() for n, p in parameters.items() if n in shifts}
            for name in saved:
                parameters[name].add_(shifts[name])
            value = self._evaluate(self._model, replace(arguments, x=x, state=state))
            for name, old in saved.items():
                parameters[name].copy_(old)
        return value

    def _evaluate(self, model: CompiledRNN, arguments: Arguments) -> float:
        with torch.no_grad():
            return float(score(evaluate(model, arguments), self._weights))
