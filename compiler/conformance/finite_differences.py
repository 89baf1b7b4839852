"""Gradients against finite differences, on the reference in float64.

The other backends are held against the reference's gradients; here those are held against its
values. What derivatives hold constant (`stopgrad`, what laws read) is held, and all chance is drawn
as it was.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import torch
from torch import Tensor

from rnnc.compiler.module.compiled_rnn import CompiledRNN

from .call_results import GRADIENT, INPUT, STATE, Answers, answers, call, score, sources, weights_of
from .cases import Case
from .mismatch import unusable
from .outcome import Outcome
from .random_arguments import Arguments, arguments
from .subject import Place, Subject

STEPS: Final = (1e-6, 1e-5, 1e-7)
TOLERANCE: Final = 1e-5
"""What a derivative may be off by, as a part of its size or of 1."""
CURVATURE: Final = 100.0
ROUNDING: Final = 1e-15
"""What lets the slopes to both sides differ without a corner: the step, and the values' digits."""
TRIES: Final = 3
"""How many inputs are drawn to get away from corners."""


def finite_differences(subject: Subject, place: Place, case: Case) -> Outcome:
    """Derivatives along random directions: one for all tensors, and if that is off, one for each.

    A direction along which the values have a corner, as at a tie of `maxout`, says nothing of a
    gradient: other inputs are drawn, and where those have one too, the direction is set aside.
    """
    model = subject.on(place)
    outcome = Outcome("aside")
    for seed in range(TRIES):
        given = arguments(model, case, seed=seed, smooth=True)
        found = answers(model, given)
        nothing = unusable(found)
        if nothing:
            outcome = Outcome("aside", f"{nothing} is no number on the reference")
            continue
        outcome = _compared(_Line(subject, given, found))
        if outcome.status == "wrong" or outcome == Outcome("right"):
            break
    return outcome


def _compared(line: _Line) -> Outcome:
    names = list(line.directions)
    together = line.along(names)
    if together.status == "right":
        return together
    each = [line.along([name]) for name in names]
    wrong = next((outcome for outcome in each if outcome.status == "wrong"), together)
    if wrong.status == "wrong":
        return wrong
    corners = [n for n, outcome in zip(names, each, strict=True) if outcome.status == "aside"]
    if len(corners) == len(names):
        return Outcome("aside", "the values have corners along every direction")
    return Outcome("right", f"set aside, for a corner: {', '.join(corners)}" if corners else "")


@dataclass(frozen=True, slots=True)
class _Difference:
    """At one step: the mean slope to both sides, and whether it is another one to each."""

    slope: float
    corner: bool


class _Line:
    """Values of one call when its tensors move along directions, each of length 1."""

    def __init__(self, subject: Subject, given: Arguments, found: Answers) -> None:
        self._model, self._stopped = subject.holding
        self._given, self._found = given, found
        self._weights = weights_of(found)
        generator = torch.Generator().manual_seed(4)
        self.directions: dict[str, Tensor] = {}
        for name, tensor in sources(self._model, given).items():
            drawn = torch.randn(tensor.shape, generator=generator, dtype=torch.float64)
            self.directions[name] = drawn / drawn.norm().clamp(min=1e-12)
        for held in self._stopped:
            held.clear()
        self._base = self._value(self._model, given)

    def along(self, names: list[str]) -> Outcome:
        """Whether the gradients of some tensors fit the values along their directions."""
        derivative = sum(
            float((self._found[GRADIENT + n] * self.directions[n]).sum()) for n in names
        )
        seen: list[_Difference] = []
        for step in STEPS:
            one = self._difference(names, step)
            if abs(one.slope - derivative) <= TOLERANCE * max(1.0, abs(one.slope)):
                return Outcome("right")
            seen.append(one)
        slopes = [one.slope for one in seen]
        # Slopes that differ from step to step are no derivative to compare with.
        spread = max(slopes) - min(slopes)
        if any(one.corner for one in seen) or spread > 10 * TOLERANCE * max(1.0, abs(slopes[0])):
            return Outcome("aside", "a corner")
        off = f"is {derivative:.9g}, finite differences give {slopes[0]:.9g}"
        return Outcome("wrong", f"gradient of {', '.join(names)} {off}")

    def _difference(self, names: list[str], step: float) -> _Difference:
        ahead = (self._moved(names, step) - self._base) / step
        behind = (self._base - self._moved(names, -step)) / step
        slope = (ahead + behind) / 2
        excused = CURVATURE * step * max(1.0, abs(slope))
        excused += ROUNDING * max(1.0, abs(self._base)) / step
        return _Difference(slope, abs(ahead - behind) > excused)

    def _moved(self, names: list[str], step: float) -> float:
        shifts = {name: step * self.directions[name] for name in names}
        given = self._given

        def at(name: str, value: Tensor) -> Tensor:
            return value + shifts[name] if name in shifts else value

        with torch.no_grad():
            x = {name: at(INPUT + name, value) for name, value in given.x.items()}
            state = given.state
            if state is not None:
                named = state._asdict().items()
                state = type(state)(*(at(STATE + name, value) for name, value in named))
            parameters = dict(self._model.named_parameters())
            before = {n: p.clone() for n, p in parameters.items() if n in shifts}
            for name in before:
                parameters[name].add_(shifts[name])
            value = self._value(self._model, replace(given, x=x, state=state))
            for name, old in before.items():
                parameters[name].copy_(old)
        return value

    def _value(self, model: CompiledRNN, given: Arguments) -> float:
        with torch.no_grad():
            return float(score(call(model, given), self._weights))
