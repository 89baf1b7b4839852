"""A call against the same call in pieces: step by step, in parts, and each row alone.

Where a call in training draws something, or adds a loss, these are calls in evaluation.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from rnnc.compiler.module.compiled_rnn import CompiledRNN
from rnnc.operators.graph.carry import carried

from .call_results import (
    GRADIENT,
    OUTPUT,
    STATE,
    Answers,
    call,
    called,
    gradients,
    results_of,
    sources,
)
from .call_results import weights_of as score_weights
from .cases import Case
from .mismatch import difference, tolerance_of, unusable
from .outcome import Outcome, judged
from .random_arguments import Arguments, arguments
from .subject import Place, Subject


def step_by_step(subject: Subject, place: Place, case: Case) -> Outcome:
    """Steps and whole calls without gradients, against the reference's whole call.

    Three times over: a call that is like an earlier one may take a short way.
    """
    given = arguments(subject.on(place), case)
    with torch.no_grad():
        right = call(subject.on(replace(place, backend="reference")).eval(), given)
        nothing = unusable(right)
        if nothing:
            return Outcome("aside", f"{nothing} is no number on the reference")
        model, allowed = subject.on(place).eval(), tolerance_of(place.dtype)
        for _ in range(3):
            wrong = difference(call(model, given), right, allowed)
            wrong = wrong or difference(_in_steps(model, given, case.steps), right, allowed)
            if wrong:
                return judged(wrong)
    return Outcome("right")


def parts(subject: Subject, place: Place, case: Case) -> Outcome:
    """A sequence in parts, each going on from the state of the one before, with its gradients."""
    model = _undisturbed(subject, place)
    given = arguments(model, case)
    whole = call(model, given)
    weights, wanted = score_weights(whole), sources(model, given)
    right = whole | gradients(whole, weights, wanted)
    nothing = unusable(right)
    if nothing:
        return Outcome("aside", f"{nothing} is no number in the whole call")
    cuts = sorted({0, max(1, case.steps // 3), case.steps - 1, case.steps})
    ours = _in_parts(model, given, cuts)
    ours |= gradients(ours, weights, wanted)
    return judged(difference(ours, right, tolerance_of(place.dtype), "the whole call"))


def rows_alone(subject: Subject, place: Place, case: Case) -> Outcome:
    """Each row of a batch as a batch of its own, as long as it is, with its gradients."""
    model = _undisturbed(subject, place)
    given = arguments(model, case)
    batch = call(model, given)
    weights = score_weights(batch)
    right = batch | gradients(batch, weights, sources(model, given))
    nothing = unusable(right)
    if nothing:
        return Outcome("aside", f"{nothing} is no number in the batch")
    allowed, oracle = tolerance_of(place.dtype), "the whole batch"
    shared = {GRADIENT + name for name, _ in model.named_parameters()} & set(right)
    total = {name: torch.zeros_like(right[name]) for name in shared}
    for row in range(case.rows):
        steps = case.steps if given.lengths is None else int(given.lengths[row])
        alone = _row(model, given, row, steps)

        def of_row(named: Answers, row: int = row, steps: int = steps) -> Answers:
            kept = {name: value for name, value in named.items() if name not in shared}
            return {n: _slice(model, n, value, row, steps) for n, value in kept.items()}

        found = call(model, alone)
        found |= gradients(found, of_row(weights), sources(model, alone))
        wrong = difference(found, of_row(right), allowed, oracle)
        if wrong:
            return Outcome("wrong", f"row {row} alone: {wrong}")
        total = {name: value + found[name] for name, value in total.items()}
    wrong = difference(total, {name: right[name] for name in shared}, allowed, oracle)
    return judged(f"all rows alone: {wrong}" if wrong else "")


def _undisturbed(subject: Subject, place: Place) -> CompiledRNN:
    """A module whose rows and steps have nothing to do with each other but through its states."""
    return subject.on(place).train(not subject.draws_in_training)


def _in_steps(model: CompiledRNN, given: Arguments, steps: int) -> Answers:
    """By `step`, or where there are resets, which it does not take, by calls of one step."""
    if given.resets is not None:
        return _in_parts(model, given, list(range(steps + 1)))
    found: list[Answers] = []
    state = given.state
    for t in range(steps):
        y, state = model.step({name: value[t] for name, value in given.x.items()}, state)
        found.append(results_of(model, y, state, step=True))
    return _joined(model, found)


def _in_parts(model: CompiledRNN, given: Arguments, cuts: list[int]) -> Answers:
    found: list[Answers] = []
    state = given.state
    for a, b in pairwise(cuts):
        x = {name: value[a:b] for name, value in given.x.items()}
        resets = None if given.resets is None else given.resets[a:b]
        y, state = called(model, replace(given, x=x, state=state, resets=resets))
        found.append(results_of(model, y, state))
    return _joined(model, found)


def _joined(model: CompiledRNN, pieces: list[Answers]) -> Answers:
    series = {OUTPUT + output.name for output in model.graph.outputs if not output.at_end}
    return {
        name: torch.cat([piece[name] for piece in pieces]) if name in series else value
        for name, value in pieces[-1].items()
    }


def _row(model: CompiledRNN, given: Arguments, row: int, steps: int) -> Arguments:
    """The arguments of one row; of an empty one, a step that is none."""

    def own(name: str, value: Tensor) -> Tensor:
        part = _slice(model, name, value, row, steps).detach().clone()
        return part.requires_grad_(value.requires_grad)

    state: Any = given.state
    if state is not None:
        named = state._asdict()
        state = type(state)(*(own(STATE + name, value) for name, value in named.items()))
    return Arguments(
        {name: own("", value) for name, value in given.x.items()},
        state,
        None if steps else torch.zeros_like(given.lengths[:1]),  # type: ignore[index]
        None if given.resets is None else own("", given.resets),
    )


def _slice(model: CompiledRNN, name: str, value: Tensor, row: int, steps: int) -> Tensor:
    """One row of a value, or of its gradient, over the steps that it has."""
    name = name.removeprefix(GRADIENT)
    if name.startswith(STATE):
        fields = dict(zip(model.initial_state(1)._fields, carried(model.graph), strict=True))
        several = fields[name.removeprefix(STATE)].steps > 1
        return value.narrow(1 if several else 0, row, 1)
    at_end = {OUTPUT + output.name for output in model.graph.outputs if output.at_end}
    if name in at_end:
        return value.narrow(0, row, 1)
    return value[: max(1, steps), row : row + 1]
