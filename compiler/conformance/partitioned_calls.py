"""Compare a call with the same call in partitions: step by step, in parts, and row by row.

If a call in training draws random numbers or adds a loss, calls in evaluation are compared.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from rnnc.compiler.module.compiled_rnn import CompiledRNN
from rnnc.operators.graph.carry import carry_entries

from .call_results import (
    GRADIENT,
    OUTPUT,
    STATE,
    CallResults,
    call_module,
    differentiable_tensors,
    evaluate,
    results_by_name,
    score_gradients,
    score_weights,
)
from .cases import Case
from .mismatch import describe_mismatch, find_non_finite, tolerance_of
from .outcome import Outcome, outcome_of_mismatch
from .random_arguments import Arguments, draw_arguments
from .subject import ExecutionTarget, Subject


def check_step_by_step(subject: Subject, target: ExecutionTarget, case: Case) -> Outcome:
    """Compare steps and whole calls without gradients with the reference's whole call.

    Each runs three times, because a call like an earlier one may be replayed.
    """
    given = draw_arguments(subject.module_for(target), case)
    with torch.no_grad():
        right = evaluate(subject.module_for(replace(target, backend="reference")).eval(), given)
        nothing = find_non_finite(right)
        if nothing:
            return Outcome("aside", f"{nothing} is no number on the reference")
        model, allowed = subject.module_for(target).eval(), tolerance_of(target.dtype)
        for _ in range(3):
            wrong = describe_mismatch(evaluate(model, given), right, allowed)
            wrong = wrong or describe_mismatch(_run_steps(model, given, case.steps), right, allowed)
            if wrong:
                return outcome_of_mismatch(wrong)
    return Outcome("right")


def check_parts(subject: Subject, target: ExecutionTarget, case: Case) -> Outcome:
    """Compare a sequence in parts, each continued from the state before, with the whole call."""
    model = _deterministic_module(subject, target)
    given = draw_arguments(model, case)
    whole = evaluate(model, given)
    weights, wanted = score_weights(whole), differentiable_tensors(model, given)
    right = whole | score_gradients(whole, weights, wanted)
    nothing = find_non_finite(right)
    if nothing:
        return Outcome("aside", f"{nothing} is no number in the whole call")
    cuts = sorted({0, max(1, case.steps // 3), case.steps - 1, case.steps})
    ours = _run_parts(model, given, cuts)
    ours |= score_gradients(ours, weights, wanted)
    return outcome_of_mismatch(
        describe_mismatch(ours, right, tolerance_of(target.dtype), "the whole call")
    )


def check_rows_alone(subject: Subject, target: ExecutionTarget, case: Case) -> Outcome:
    """Compare each row, as a batch of its own and of its own length, with the whole batch."""
    model = _deterministic_module(subject, target)
    given = draw_arguments(model, case)
    batch = evaluate(model, given)
    weights = score_weights(batch)
    right = batch | score_gradients(batch, weights, differentiable_tensors(model, given))
    nothing = find_non_finite(right)
    if nothing:
        return Outcome("aside", f"{nothing} is no number in the batch")
    allowed, oracle = tolerance_of(target.dtype), "the whole batch"
    shared = {GRADIENT + name for name, _ in model.named_parameters()} & set(right)
    total = {name: torch.zeros_like(right[name]) for name in shared}
    for row in range(case.rows):
        steps = case.steps if given.lengths is None else int(given.lengths[row])
        alone = _row_arguments(model, given, row, steps)

        def of_row(named: CallResults, row: int = row, steps: int = steps) -> CallResults:
            kept = {name: value for name, value in named.items() if name not in shared}
            return {n: _row_slice(model, n, value, row, steps) for n, value in kept.items()}

        found = evaluate(model, alone)
        found |= score_gradients(found, of_row(weights), differentiable_tensors(model, alone))
        wrong = describe_mismatch(found, of_row(right), allowed, oracle)
        if wrong:
            return Outcome("wrong", f"row {row} alone: {wrong}")
        total = {name: value + found[name] for name, value in total.items()}
    wrong = describe_mismatch(total, {name: right[name] for name in shared}, allowed, oracle)
    return outcome_of_mismatch(f"all rows alone: {wrong}" if wrong else "")


def _deterministic_module(subject: Subject, target: ExecutionTarget) -> CompiledRNN:
    """Return a module whose rows and steps depend on each other only through its states."""
    return subject.module_for(target).train(not subject.draws_in_training)


def _run_steps(model: CompiledRNN, arguments: Arguments, steps: int) -> CallResults:
    """Run step by step: by `step`, or by calls of one step if there are resets."""
    if arguments.resets is not None:
        return _run_parts(model, arguments, list(range(steps + 1)))
    found: list[CallResults] = []
    state = arguments.state
    for t in range(steps):
        y, state = model.step({name: value[t] for name, value in arguments.x.items()}, state)
        found.append(results_by_name(model, y, state, step=True))
    return _concatenate_results(model, found)


def _run_parts(model: CompiledRNN, arguments: Arguments, cuts: list[int]) -> CallResults:
    found: list[CallResults] = []
    state = arguments.state
    for a, b in pairwise(cuts):
        x = {name: value[a:b] for name, value in arguments.x.items()}
        resets = None if arguments.resets is None else arguments.resets[a:b]
        y, state = call_module(model, replace(arguments, x=x, state=state, resets=resets))
        found.append(results_by_name(model, y, state))
    return _concatenate_results(model, found)


def _concatenate_results(model: CompiledRNN, parts: list[CallResults]) -> CallResults:
    series = {OUTPUT + output.name for output in model.graph.outputs if not output.at_end}
    return {
        name: torch.cat([piece[name] for piece in parts]) if name in series else value
        for name, value in parts[-1].items()
    }


def _row_arguments(model: CompiledRNN, arguments: Arguments, row: int, steps: int) -> Arguments:
    """Return the arguments of one row; for an empty row, a step past its length."""

    def own(name: str, value: Tensor) -> Tensor:
        part = _row_slice(model, name, value, row, steps).detach().clone()
        return part.requires_grad_(value.requires_grad)

    state: Any = arguments.state
    if state is not None:
        named = state._asdict()
        state = type(state)(*(own(STATE + name, value) for name, value in named.items()))
    return Arguments(
        {name: own("", value) for name, value in arguments.x.items()},
        state,
        None if steps else torch.zeros_like(arguments.lengths[:1]),  # type: ignore[index]
        None if arguments.resets is None else own("", arguments.resets),
    )


def _row_slice(model: CompiledRNN, name: str, value: Tensor, row: int, steps: int) -> Tensor:
    """Return one row of a value, or of its gradient, up to the row's length."""
    name = name.removeprefix(GRADIENT)
    if name.startswith(STATE):
        fields = dict(zip(model.initial_state(1)._fields, carry_entries(model.graph), strict=True))
        several = fields[name.removeprefix(STATE)].steps > 1
        return value.narrow(1 if several else 0, row, 1)
    at_end = {OUTPUT + output.name for output in model.graph.outputs if output.at_end}
    if name in at_end:
        return value.narrow(0, row, 1)
    return value[: max(1, steps), row : row + 1]
